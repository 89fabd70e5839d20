import type { Recovery, RecoveryPoint, Step } from "../record.ts";
import { parseTime, type Target } from "../targets.ts";

export interface Objectives {
  readonly rtoSeconds: number | null;
  readonly rpoSeconds: number | null;
}

/** The strictest of several objectives. */
export function strictest(all: readonly Objectives[]): Objectives {
  return {
    rtoSeconds: least(all.map((one) => one.rtoSeconds)),
    rpoSeconds: least(all.map((one) => one.rpoSeconds)),
  };
}

function least(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : Math.min(...known);
}

/**
 * The RTO in seconds: from the beginning of the first step that ran to the end of the last check, on the monotonic clock
 * that measured the steps, without the steps that nobody waits for in a real recovery. Null unless every step that ran has passed and a check is among them: a service that is not
 * whole has not been recovered in any time.
 */
export function achievedRto(steps: readonly TimedStep[]): number | null {
  const ran = steps.filter(({ step }) => step.status !== "skipped");
  const first = ran[0];
  const lastCheck = ran.findLast(({ step }) => step.kind === "check");
  if (first === undefined || lastCheck === undefined) return null;
  if (ran.some(({ step }) => step.status !== "passed")) return null;
  const aside = ran.filter((one) => one.aside === true && one.endMs <= lastCheck.endMs);
  const asideMs = aside.reduce((sum, one) => sum + one.endMs - one.startMs, 0);
  return (lastCheck.endMs - first.startMs - asideMs) / 1000;
}

/** A step with its place on the monotonic clock, in milliseconds. */
export interface TimedStep {
  readonly step: Step;
  readonly startMs: number;
  readonly endMs: number;
  /** A look at what was recovered that a real recovery would not wait for. */
  readonly aside?: boolean;
}

export interface Loss {
  /** Seconds of data lost by the worst component; null when it could not be measured for one of them. */
  readonly rpoSeconds: number | null;
  /** Components whose last commit was not observed. */
  readonly unobserved: readonly string[];
  /** Components whose last commit lies after the time that was asked for: the recovery went too far. */
  readonly beyondTarget: readonly string[];
  /** Components whose last commit lies in the future of this machine, so that nothing can be measured with its clock. */
  readonly inFuture: readonly string[];
}

/** How far two clocks that are both right may be apart. */
const CLOCK_TOLERANCE_MICROS = 60_000_000n;

/**
 * The RPO in seconds: how much older the last recovered commit is than the moment that was wanted back. Where replay met
 * no commit, the loss is bounded by the beginning of the backup, for everything up to there is in it.
 *
 * - A time, or a while ago: that moment.
 * - `latest`: the beginning of the first step, as if the service was lost then. What was committed after the newest
 *   archived point counts as lost.
 * - `lsn:`, `xid:`, `name:`: the moment of that very point, which a recovery is proven to end at.
 * - `immediate`: as `latest`. The end of a base backup is a point nobody wants for its own sake, so everything since counts.
 *
 * Clocks of the database and the runner are compared for `latest` and `immediate`; a difference a little below zero counts as zero.
 */
export function achievedLoss(recoveries: readonly Recovery[], target: Target, clockStart: Date): Loss {
  const exact = target.kind === "time" || target.kind === "before-now";
  const losses: number[] = [];
  const unobserved: string[] = [];
  const beyondTarget: string[] = [];
  const inFuture: string[] = [];
  for (const { component, reached } of recoveries) {
    const contained = reached.lastCommitBefore ?? reached.completeUntil ?? null;
    const last = contained === null ? undefined : parseTime(contained);
    const wanted = wantedMicros(target, reached, clockStart) ?? last ?? 0n;
    if (last === undefined) unobserved.push(component);
    else if (exact && last > wanted) beyondTarget.push(component);
    else if (last > wanted + CLOCK_TOLERANCE_MICROS) inFuture.push(component);
    else losses.push(last > wanted ? 0 : Number(wanted - last) / 1e6);
  }
  const measured = losses.length > 0 && losses.length === recoveries.length;
  return { rpoSeconds: measured ? Math.max(...losses) : null, unobserved, beyondTarget, inFuture };
}

/** Undefined: a point that no time is known of, but that was proven to be reached. */
function wantedMicros(target: Target, { time }: RecoveryPoint, clockStart: Date): bigint | undefined {
  switch (target.kind) {
    case "time":
      return target.micros;
    case "before-now":
      return BigInt(clockStart.getTime() - target.seconds * 1000) * 1000n;
    case "lsn":
    case "xid":
    case "name":
      return time === null ? undefined : parseTime(time);
    case "latest":
    case "immediate":
      return BigInt(clockStart.getTime()) * 1000n;
  }
}
