import type { Context } from "../context.ts";
import { ToolError } from "../errors.ts";
import type { Finding } from "../finding.ts";
import { channelsOf } from "../notify/channels.ts";
import type { Notice } from "../notify/notice.ts";
import { type NotifyTuning, type NotifyWhen, notify } from "../notify/notify.ts";
import type { DrillRecord, Verdict } from "../record.ts";
import type { Runbook } from "../runbook/load.ts";
import { readHistory } from "./history.ts";
import { nextSteps } from "./next-steps.ts";
import { renderHistory } from "./overview.ts";
import { type Standing, standings } from "./standing.ts";

export interface ReportRequest {
  readonly runbook: Runbook;
  /** Paths or globs of drill records, relative to `folder`. */
  readonly records: readonly string[];
  readonly folder: string;
  /** How many drills of a scenario the trend shows. */
  readonly history: number;
  /** Fail when a scenario has no passed drill within its `every`. */
  readonly gate: boolean;
}

export interface Report {
  readonly verdict: Verdict;
  /** Why the verdict is not `passed`, one sentence each. */
  readonly reasons: readonly string[];
  readonly findings: readonly Finding[];
  readonly standings: readonly Standing[];
  /** Fits into a job summary. */
  readonly summary: string;
  /** Leaves nothing out. */
  readonly markdown: string;
  /** A sentence for each file that is no sound record. */
  readonly broken: readonly string[];
}

/**
 * Reads the drill records and says how it stands with the scenarios. `passed`: the newest drill of each is passed, every
 * file is sound and, with `gate`, none is overdue. A broken record or no record at all is `unverified`.
 */
export async function makeReport(request: ReportRequest, context: Pick<Context, "now">): Promise<Report> {
  const now = context.now();
  const { config } = request.runbook;
  const { records, broken } = await readHistory(request.records, request.folder, now);
  const ours = records.filter((record) => record.service === config.service);
  const foreign = records.length - ours.length;
  const all = standings(config, ours, request.gate, now);
  const reasons = reasonsOf(all, broken, ours.length);
  const counted = all.filter((one) => one.current);
  const result = {
    verdict: verdictOf(counted, broken, ours.length),
    reasons,
    findings: counted.flatMap((one) => one.finding ?? []),
    standings: all,
    broken,
  };
  const input = {
    ...result,
    service: config.service,
    contacts: config.contacts,
    foreign,
    history: request.history,
    now,
  };
  return { ...result, summary: renderHistory(input, "summary"), markdown: renderHistory(input, "file") };
}

function verdictOf(standings: readonly Standing[], broken: readonly string[], records: number): Verdict {
  if (standings.some((one) => one.verdict === "failed")) return "failed";
  const open = standings.some((one) => one.drills.length > 0 && one.verdict === "unverified");
  return open || broken.length > 0 || records === 0 || standings.every((one) => one.drills.length === 0)
    ? "unverified"
    : "passed";
}

function reasonsOf(all: readonly Standing[], broken: readonly string[], records: number): string[] {
  const reasons: string[] = [];
  for (const { current, finding, drills, scenario, verdict } of all) {
    if (!current) continue;
    if (finding?.severity === "error") reasons.push(finding.message);
    const newest = drills[0];
    if (newest === undefined || newest.verdict === "passed" || verdict === "passed") continue;
    reasons.push(
      `The newest drill of ${scenario} is ${newest.verdict}: ${newest.reasons[0] ?? "no reason was recorded."}`,
    );
  }
  reasons.push(...broken);
  if (records === 0)
    reasons.push("No drill record was found, so nothing is proven: run the pitr-drill action first.");
  return reasons;
}

/**
 * Tells the runbook's `notify` channels how it stands, one notice for each scenario. Returns a sentence for each that could
 * not be delivered; throws a UserError when a variable in `notify` is not set.
 */
export async function notifyReport(
  report: Report,
  runbook: Runbook,
  when: NotifyWhen,
  runUrl: string | null,
  context: Context,
  tuning?: NotifyTuning,
): Promise<readonly string[]> {
  if (when === "never") return [];
  const channels = channelsOf(runbook, context.env);
  const failures: string[] = [];
  for (const [notice, how] of noticesOf(report, runbook.config.service, when, runUrl)) {
    failures.push(...(await notify(channels, how, notice, context, tuning)).failures);
  }
  return [...new Set(failures)];
}

/** Ends the action with an error when somebody could not be told: an alarm that nobody hears is none. */
export function assertTold(failures: readonly string[]): void {
  if (failures.length > 0) throw new ToolError(failures.join(" "));
}

function noticesOf(
  report: Report,
  service: string,
  when: NotifyWhen,
  runUrl: string | null,
): [Notice, NotifyWhen][] {
  const notices: [Notice, NotifyWhen][] = [];
  for (const { current, drills, verdict, scenario, finding } of report.standings) {
    const [newest] = drills;
    // A scenario that only was not drilled yet is nobody's alarm unless the gate asks for it.
    if (!current || (newest === undefined && verdict !== "failed")) continue;
    const bad = finding?.severity === "error" ? [finding.message] : [];
    const steps = [
      ...(finding?.severity === "error" ? [finding.remedy] : []),
      ...(newest === undefined ? [] : nextSteps(newest)),
    ];
    const reasons = [...bad, ...(newest?.reasons ?? [])];
    const title = `drill of ${scenario}`;
    const notice = { service, subject: scenario, title, verdict, reasons, nextSteps: steps, runUrl };
    notices.push([
      { ...notice, headline: headline(service, scenario, verdict, newest), payload: newest ?? finding },
      when,
    ]);
  }
  const trouble = report.standings.every((one) => one.drills.length === 0) && report.broken.length === 0;
  const reasons = trouble ? ["No drill record was found."] : report.broken;
  const verdict: Verdict = reasons.length > 0 ? "unverified" : "passed";
  const records = {
    service,
    subject: "records",
    title: "drill of records",
    verdict,
    reasons,
    nextSteps: [],
    runUrl,
  };
  const about = verdict === "passed" ? "All drill records are sound." : "Drill records are absent or broken.";
  // Sound records are no news: they only end an earlier alarm.
  notices.push([
    { ...records, headline: `${service}: ${about}`, payload: { service, verdict, reasons } },
    "on-failure",
  ]);
  return notices;
}

function headline(
  service: string,
  scenario: string,
  verdict: Verdict,
  newest: DrillRecord | undefined,
): string {
  const when = newest === undefined ? "never drilled" : `newest drill ${newest.id} in ${newest.environment}`;
  return `${service}: the drill of ${scenario} is ${verdict} (${when}).`;
}
