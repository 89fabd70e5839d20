import type { Verdict } from "../record.ts";

/** What is told to people and services outside, the same for all channels. Plain text, nothing escaped yet. */
export interface Notice {
  readonly service: string;
  /** The scenario, or another name for what the verdict is about: later notices of the same subject replace or end this one. */
  readonly subject: string;
  /** What the verdict is about, for a headline: `drill of database-lost`. */
  readonly title: string;
  readonly verdict: Verdict;
  /** One sentence. */
  readonly headline: string;
  readonly reasons: readonly string[];
  readonly nextSteps: readonly string[];
  readonly runUrl: string | null;
  /** For the JSON webhook: the drill record, or what there is instead of one. */
  readonly payload: unknown;
}

/** The same for every notice of a subject, so that a later one finds the earlier. */
export function noticeKey(notice: Notice): string {
  return `drillbook/${notice.service}/${notice.subject}`;
}
