import { lsn } from "../../catalog/lsn.ts";
import type { RecoveryRequest } from "../../component.ts";
import { endOfNeededWal } from "../details.ts";
import type { Goal } from "../goal.ts";
import { hasEnded, parseSnapshot, withEpoch, withoutEpoch } from "../snapshots.ts";
import { LONGEST_POINT_BYTES } from "../wal-records.ts";
import type { Candidate } from "./candidates.ts";
import { findNamedPoint } from "./named-points.ts";
import { lsnWindow, noSnapshots, timeWindow, xidWindow } from "./plan-refusals.ts";
import {
  type Archive,
  measureReach,
  type Reach,
  type ReachedPoint,
  requireConsistency,
  requireEnd,
} from "./reach.ts";

/** The backup to begin with, where to end, and what is needed to get there. */
export interface Resolved {
  readonly reach: Reach;
  readonly goal: Goal;
  /** The number of the last segment that replay can need; undefined: the one that makes the backup consistent. */
  readonly lastNumber: number | undefined;
}

/** What a target is resolved with. */
export interface Choice {
  readonly archive: Archive;
  /** Backups that may be taken, oldest first. */
  readonly candidates: readonly [Candidate, ...Candidate[]];
  /** The user's timeline. */
  readonly timeline: number | undefined;
  /** The user chose the backup. */
  readonly named: boolean;
  readonly signal: AbortSignal;
}

/** Resolves a target to what PostgreSQL is told. Throws what {@link import("./plan.ts").planRecovery} throws. */
export async function resolveTarget(choice: Choice, { target, now }: RecoveryRequest): Promise<Resolved> {
  switch (target.kind) {
    case "immediate":
      return { reach: await beginWith(choice), goal: { kind: "immediate" }, lastNumber: undefined };
    case "latest":
      return await toLatest(choice);
    case "time":
      return await toTime(choice, target.micros, target.exclusive);
    case "before-now":
      return await toTime(choice, BigInt(now.getTime() - target.seconds * 1000) * 1000n, target.exclusive);
    case "lsn":
      return await toLsn(choice, target.lsn, target.exclusive);
    case "xid":
      return await toTransaction(choice, target.xid, target.exclusive);
    case "name":
      return await findNamedPoint(choice, target.name);
  }
}

async function toLatest(choice: Choice): Promise<Resolved> {
  const reach = await beginWith(choice);
  const { point, micros, lastNumber } = await requireEnd(choice, reach);
  const goal: Goal = { kind: "restore-point", name: point.name, lsn: lsn(point.lsn), micros };
  return { reach, goal, lastNumber };
}

async function toTime(choice: Choice, micros: bigint, exclusive: boolean): Promise<Resolved> {
  const refuse = timeWindow(choice, micros);
  const reach = await beginWith(choice, (candidate) => candidate.stopMicros < micros, refuse.tooEarly);
  const end = await endWithin(choice, reach, (newest) => micros <= newest.micros, refuse.tooLate);
  return { reach, goal: { kind: "time", micros, exclusive }, lastNumber: end.lastNumber };
}

async function toLsn(choice: Choice, position: bigint, exclusive: boolean): Promise<Resolved> {
  const refuse = lsnWindow(choice, position, LONGEST_POINT_BYTES);
  const reach = await beginWith(
    choice,
    ({ details }) => endOfNeededWal(details) <= position,
    refuse.tooEarly,
  );
  // A record begins at or behind every position that lies so far before the point's end: one to stop at.
  const isBefore = ({ point }: ReachedPoint) => position <= lsn(point.lsn) - LONGEST_POINT_BYTES;
  const end = await endWithin(choice, reach, isBefore, refuse.tooLate);
  return { reach, goal: { kind: "lsn", lsn: position, exclusive }, lastNumber: end.lastNumber };
}

/** What had ended when a backup was whole is in it, and what had ended at the newest point lies before that. */
async function toTransaction(choice: Choice, written: bigint, exclusive: boolean): Promise<Resolved> {
  const { archive, candidates } = choice;
  const newest = await beginWith(choice);
  const { point } = newest.newest ?? (await requireEnd(choice, newest));
  const last = parseSnapshot(point.snapshot);
  if (last === undefined || candidates.every(({ details }) => details.stopSnapshot === undefined)) {
    throw noSnapshots(archive.setting.name);
  }
  const xid = withEpoch(written, last);
  const refuse = xidWindow(choice, xid);

  function endedBy(snapshot: string | undefined): boolean | undefined {
    const parsed = parseSnapshot(snapshot);
    return parsed && hasEnded(parsed, xid);
  }
  const isMissing = ({ details }: Candidate) => endedBy(details.stopSnapshot) === false;
  const reach = await beginWith(choice, isMissing, refuse.tooEarly);
  const hasCome = (end: ReachedPoint) => endedBy(end.point.snapshot) === true;
  const end = await endWithin(choice, reach, hasCome, refuse.tooLate);
  return { reach, goal: { kind: "xid", xid: withoutEpoch(xid), exclusive }, lastNumber: end.lastNumber };
}

/** The newest backup that is early enough, with the WAL behind it; throws the refusal, told of the oldest, when none is. */
async function beginWith(
  choice: Choice,
  isEarlyEnough: (candidate: Candidate) => boolean = () => true,
  tooEarly: (oldest: Reach) => Error = () => new Error("Every backup is early enough."),
): Promise<Reach> {
  const { archive, candidates, timeline, signal } = choice;
  const chosen = candidates.findLast(isEarlyEnough);
  const reach = await measureReach(archive, chosen ?? candidates[0], timeline, signal);
  if (chosen === undefined) throw tooEarly(reach);
  await requireConsistency(archive, reach, signal);
  return reach;
}

/** The newest point, when the target does not lie behind it; else throws what is missing, or the refusal. */
async function endWithin(
  choice: Choice,
  reach: Reach,
  isWithin: (newest: ReachedPoint) => boolean,
  tooLate: (reach: Reach, newest: ReachedPoint) => Error,
): Promise<ReachedPoint> {
  if (reach.newest !== undefined && isWithin(reach.newest)) return reach.newest;
  throw tooLate(reach, await requireEnd(choice, reach));
}
