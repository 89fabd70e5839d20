import { DefectError, ToolError } from "../../errors.ts";
import type { RecoveryPoint } from "../../record.ts";
import { formatMicros } from "../../targets.ts";
import type { Goal } from "../scratch/server-settings.ts";
import type { RecoveryLog } from "./server-log.ts";

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
  const lastCommitBefore = last === undefined ? null : toRfc3339(last);
  if (goal.kind === "immediate") {
    if (stop.kind !== "consistency") throw elsewhere(backupSubject, "the end of the backup");
    return { time: null, lastCommitBefore, firstCommitAfter: null };
  }
  if (goal.kind === "restore-point") {
    // The point is made after the moment that it stands for, on the same clock.
    if (stop.kind !== "restore-point" || stop.name !== goal.name || stop.micros < goal.micros) {
      throw elsewhere(backupSubject, `the restore point ${goal.name}`);
    }
    return { time: toRfc3339(goal.micros), lastCommitBefore, firstCommitAfter: null };
  }
  const target = toRfc3339(goal.micros);
  const overshot = last !== undefined && last > goal.micros;
  if (stop.kind !== "transaction" || stop.micros <= goal.micros || overshot) {
    throw elsewhere(backupSubject, `the time ${target}`);
  }
  // An abort behind the target ends replay as well, but it is no commit.
  const firstCommitAfter = stop.outcome === "commit" ? toRfc3339(stop.micros) : null;
  return { time: target, lastCommitBefore, firstCommitAfter };
}

function elsewhere(subject: string, where: string): DefectError {
  return new DefectError(
    subject,
    `PostgreSQL was promoted, but not at ${where}: the backup does not lead there.`,
  );
}

/** `2026-01-25T14:30:00.123456Z` */
export function toRfc3339(micros: bigint): string {
  return formatMicros(micros).replace(" ", "T").replace("+00", "Z");
}
