import { parseLsn, segmentAt } from "./lsn.ts";

/** A timeline and what it grew out of: `ancestors` in ascending order, each with the position where it was left. */
export interface TimelinePath {
  readonly timeline: number;
  readonly ancestors: readonly { readonly timeline: number; readonly end: bigint }[];
}

/**
 * Reads a timeline's history file: lines of `parent TLI <tab> switch LSN <tab> reason`, comments after `#`.
 * Undefined when it is damaged.
 */
export function parseHistory(timeline: number, text: string): TimelinePath | undefined {
  const ancestors: { timeline: number; end: bigint }[] = [];
  for (const line of text.split("\n")) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    const [parent = "", end = ""] = line.trim().split(/\s+/);
    const position = parseLsn(end);
    const number = /^\d+$/.test(parent) ? Number(parent) : 0;
    const last = ancestors.at(-1)?.timeline ?? 0;
    if (position === undefined || number <= last || number >= timeline) return undefined;
    ancestors.push({ timeline: number, end: position });
  }
  // The server writes one only for a timeline that grew out of another.
  return ancestors.length === 0 ? undefined : { timeline, ancestors };
}

/** The path of a timeline without parents. */
export function rootTimeline(timeline: number): TimelinePath {
  return { timeline, ancestors: [] };
}

/**
 * On which timeline recovery along `path` reads segment `number`. The segment in which a timeline was left is read
 * from its child, whose copy begins with the parent's bytes.
 */
export function timelineOfSegment(path: TimelinePath, number: number, segmentBytes: number): number {
  const owner = path.ancestors.find((ancestor) => number < segmentAt(ancestor.end, segmentBytes));
  return owner?.timeline ?? path.timeline;
}

/** Whether `position` on `timeline` lies on the path: the timeline is its end, or was left later than there. */
export function isOnPath(path: TimelinePath, timeline: number, position: bigint): boolean {
  if (timeline === path.timeline) {
    const parent = path.ancestors.at(-1);
    return parent === undefined || position >= parent.end;
  }
  return path.ancestors.some((ancestor) => ancestor.timeline === timeline && position <= ancestor.end);
}
