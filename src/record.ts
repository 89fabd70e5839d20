import { z } from "zod";

/**
 * The drill record: what a drill or a restore did and proved, as written to `<report-dir>/<drill-id>.json` and to
 * `drills/` in the store. Times are RFC 3339 in UTC; durations are seconds; a field that was not measured is null.
 */

const verdict = z.enum(["passed", "failed", "unverified"]);
export type Verdict = z.infer<typeof verdict>;

/** A part of a step that is timed on its own, such as `fetch`, `replay` or `checks`. */
const phase = z.object({ name: z.string(), seconds: z.number(), bytes: z.number().optional() });

const step = z.object({
  id: z.string(),
  title: z.string(),
  kind: z.enum(["run", "recover", "check"]),
  component: z.string().optional(),
  /** `skipped`: not for this kind of run, or not reached because an earlier step ended the drill. */
  status: z.enum(["passed", "failed", "unverified", "skipped"]),
  startedAt: z.string(),
  seconds: z.number(),
  phases: z.array(phase),
  message: z.string().optional(),
});

/** The point that a recovery really reached. */
const recoveryPoint = z.object({
  lsn: z.string(),
  /** When the point was: the target's time, or the restore point's. Null when PostgreSQL names none. */
  time: z.string().nullable(),
  timeline: z.number(),
  /** Commit time of the last transaction that was recovered, and of the first that was not. */
  lastCommitBefore: z.string().nullable(),
  firstCommitAfter: z.string().nullable(),
  /**
   * Every commit up to this moment was recovered, although replay may have met none: when the backup began, on the
   * database's clock. It bounds the loss where `lastCommitBefore` is null.
   */
  completeUntil: z.string().nullable().optional(),
});

const recovery = z.object({
  component: z.string(),
  backupId: z.string(),
  target: z.string(),
  reached: recoveryPoint,
});

const checkResult = z.object({
  component: z.string(),
  /** What was checked, in the words of the runbook. */
  check: z.string(),
  status: verdict,
  expected: z.string(),
  actual: z.string(),
  /** What was seen in detail, a line each: differences, or objects that are concerned. At most about fifty. */
  lines: z.array(z.string()).optional(),
});

export const drillRecord = z.object({
  schema: z.literal("drillbook/drill-record/v1"),
  id: z.string(),
  service: z.string(),
  environment: z.string(),
  scenario: z.string(),
  verdict,
  /** Why the verdict is not `passed`, one sentence each; empty when it is. */
  reasons: z.array(z.string()),
  startedAt: z.string(),
  finishedAt: z.string(),
  objectives: z.object({ rtoSeconds: z.number().nullable(), rpoSeconds: z.number().nullable() }),
  achieved: z.object({ rtoSeconds: z.number().nullable(), rpoSeconds: z.number().nullable() }),
  operator: z.string(),
  run: z.object({ url: z.string().nullable(), attempt: z.number().nullable(), sha: z.string().nullable() }),
  steps: z.array(step),
  recoveries: z.array(recovery),
  checks: z.array(checkResult),
  environmentFacts: z.record(z.string(), z.string()),
});

export type Phase = z.infer<typeof phase>;
export type Step = z.infer<typeof step>;
export type RecoveryPoint = z.infer<typeof recoveryPoint>;
export type Recovery = z.infer<typeof recovery>;
export type CheckResult = z.infer<typeof checkResult>;
export type DrillRecord = z.infer<typeof drillRecord>;
