import { lsn, segmentAt } from "../../catalog/lsn.ts";
import type { WalSegment } from "../../catalog/wal.ts";
import { DefectError, ToolError } from "../../errors.ts";
import type { Goal } from "../goal.ts";
import { noEndOfTransaction } from "./plan-refusals.ts";
import type { RecoveryLog } from "./server-log.ts";

/** What is known of a recovery that did not end at its target. */
export interface FailedRecovery {
  readonly goal: Goal;
  readonly log: RecoveryLog["state"];
  /** How the server process ended. */
  readonly ending: string;
  readonly segments: readonly WalSegment[];
  readonly segmentBytes: number;
  /** Why a WAL file could not be had. */
  failureOf(name: string): unknown;
  /** The full name of an object in the store. */
  describe(key: string): string;
  /** The backup's manifest: named when no segment can be. */
  readonly backupSubject: string;
}

/** Troubles of this machine, not of what lies in the store. */
const ENVIRONMENT =
  /No space left on device|Disk quota exceeded|Cannot allocate memory|out of memory|Too many open files|Permission denied|Read-only file system|could not (?:access file|load library|create .*socket|bind|map anonymous|create shared memory|create lock file|resize shared memory)|could not open shared memory|was terminated by signal|incompatible with server|configuration file .* contains errors|Input\/output error/;

/** Before replay begins: the WAL that `backup_label` names is not there, or is not that of the backup. */
const NO_BEGINNING = /^could not (?:locate (?:required|a valid) checkpoint record|find redo location)/;

const ENDED_BEFORE = /^recovery ended before configured recovery target was reached/;

/**
 * The error for a server that ended before its target. What the store's objects are to blame for is a
 * {@link DefectError} that names the object; trouble of this machine, or with the server's settings, is a
 * {@link ToolError}.
 */
export function explainFailure(failed: FailedRecovery): Error {
  const { log, ending } = failed;
  const said = log.fatal?.text;
  const file = /could not restore file "([^"]+)" from archive/.exec(said ?? "")?.[1];
  const cause = file === undefined ? undefined : failed.failureOf(file);
  if (cause instanceof Error) return cause;
  if (said === undefined) {
    const why = ending.startsWith("signal") ? " This machine may be short of memory." : "";
    return new ToolError(`The scratch server ended with ${ending} and gave no reason.${why}`);
  }
  const space = /^(?:could not set permissions on )?directory "([^"]+)"(?::| does not exist)/.exec(said)?.[1];
  if (space !== undefined) {
    return new ToolError(
      `The WAL creates a tablespace in ${space}, which cannot be replayed on this machine: take a new backup, which holds the tablespace.`,
    );
  }
  const sentence = log.complaint === undefined ? said : `${said}: ${log.complaint}`;
  const began = log.started || NO_BEGINNING.test(said);
  if (!began || file !== undefined || ENVIRONMENT.test(said)) {
    return new ToolError(`The scratch server could not recover: ${sentence}.`);
  }
  // The plan has seen that all WAL is there up to a point at which the transaction had ended.
  const toTheEnd = ENDED_BEFORE.test(said) && log.lastRestored === failed.segments.at(-1)?.name;
  if (failed.goal.kind === "xid" && toTheEnd) return noEndOfTransaction(failed.goal.xid);
  const reason = log.badRecord === undefined ? said : `${said} after "${log.badRecord}"`;
  const segment = blame(failed);
  const subject = segment === undefined ? failed.backupSubject : failed.describe(segment.key);
  return new DefectError(subject, `PostgreSQL could not replay to the target at ${subject}: ${reason}.`);
}

/** The segment in which the server found something wrong, or the last that it was given. */
function blame({ log, segments, segmentBytes }: FailedRecovery): WalSegment | undefined {
  const text = log.badRecord ?? "";
  const named = /segment ([0-9A-F]{24})/.exec(text)?.[1];
  const position = /(?:at|LSN) ([0-9A-F]{1,8}\/[0-9A-F]{1,8})/.exec(text)?.[1];
  const number = position === undefined ? undefined : segmentAt(lsn(position), segmentBytes);
  return (
    segments.find((segment) => segment.name === named) ??
    segments.find((segment) => segment.number === number) ??
    segments.find((segment) => segment.name === log.lastRestored)
  );
}
