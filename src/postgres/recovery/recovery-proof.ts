import { DefectError, ToolError } from "../../errors.ts";
import type { RecoveryPoint } from "../../record.ts";
import { toRfc3339 } from "../../targets.ts";
import { describeGoal, type Goal } from "../goal.ts";
import type { RecoveryLog } from "./server-log.ts";

/** What the log tells of the point that was reached; micros since 1970. */
interface Moment {
  /** When the point was; undefined when PostgreSQL names no time. */
  readonly time: bigint | undefined;
  /** The first commit that was left out, where the log names one. */
  readonly after?: bigint | undefined;
}

/**
 * Proves from the server's own words that replay ended at the goal, and not merely somewhere: a promotion alone says
 * nothing. Throws a {@link DefectError} when it ended elsewhere and a {@link ToolError} when the log does not tell.
 */
export function proveStop(
  goal: Goal,
  log: RecoveryLog["state"],
  backupSubject: string,
): Pick<RecoveryPoint, "time" | "lastCommitBefore" | "firstCommitAfter"> {
  const { stop, lastTransactionMicros: last, badRecord } = log;
  if (badRecord !== undefined) {
    throw new DefectError(backupSubject, `PostgreSQL met broken WAL before the target: ${badRecord}.`);
  }
  if (!log.complete || stop === undefined) {
    throw new ToolError("The scratch server was promoted, but its log does not say where replay stopped.");
  }
  const moment = momentOf(goal, stop, last);
  if (moment === undefined) {
    throw new DefectError(
      backupSubject,
      `PostgreSQL was promoted, but not at the target (${describeGoal(goal)}): the backup does not lead there.`,
    );
  }
  return {
    time: written(moment.time),
    lastCommitBefore: written(last),
    firstCommitAfter: written(moment.after),
  };
}

type Stop = NonNullable<RecoveryLog["state"]["stop"]>;

/** The moment of the stop; undefined when it is another stop than the goal asked for. */
function momentOf(goal: Goal, stop: Stop, last: bigint | undefined): Moment | undefined {
  switch (goal.kind) {
    case "immediate":
      return stop.kind === "consistency" ? { time: undefined } : undefined;
    case "restore-point":
      // The point is made after the moment that it stands for, on the same clock.
      if (stop.kind !== "restore-point" || stop.name !== goal.name || stop.micros < goal.micros)
        return undefined;
      return { time: goal.micros };
    case "time": {
      if (stop.kind !== "transaction" || stop.side !== "before") return undefined;
      // With its smallest step a time that excludes is one that includes the microsecond before.
      const latest = goal.exclusive ? goal.micros - 1n : goal.micros;
      if (stop.micros <= latest || (last !== undefined && last > latest)) return undefined;
      return { time: goal.micros, after: commitOf(stop) };
    }
    case "lsn":
      if (stop.kind !== "lsn" || stop.side !== sideOf(goal) || stop.lsn < goal.lsn) return undefined;
      // A commit that is the very record at the position is replayed, but the log does not count it.
      return { time: last };
    case "xid":
      if (stop.kind !== "transaction" || stop.side !== sideOf(goal)) return undefined;
      if (BigInt(stop.xid) !== goal.xid) return undefined;
      return goal.exclusive ? { time: stop.micros, after: commitOf(stop) } : { time: stop.micros };
  }
}

function sideOf(goal: { readonly exclusive: boolean }): "before" | "after" {
  return goal.exclusive ? "before" : "after";
}

/** An abort behind the target ends replay as well, but it is no commit. */
function commitOf(stop: Stop & { readonly kind: "transaction" }): bigint | undefined {
  return stop.outcome === "commit" ? stop.micros : undefined;
}

function written(micros: bigint | undefined): string | null {
  return micros === undefined ? null : toRfc3339(micros);
}
