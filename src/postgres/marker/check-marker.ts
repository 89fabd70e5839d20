import { lsn } from "../../catalog/lsn.ts";
import { type NamedPoint, readSidecarOf, type WalSegment } from "../../catalog/wal.ts";
import type { CheckResult } from "../../record.ts";
import type { Session } from "../checks/session.ts";
import type { StoreSetting } from "../store-setting.ts";
import { isMarkedPoint, MARKER_TABLE, type MarkerSide } from "./names.ts";

/** Where a recovery ended, and the WAL around it. */
export interface MarkerSubject {
  readonly setting: StoreSetting;
  /** The unbroken run of segments behind the backup, in order, also beyond where recovery ended. */
  readonly chain: readonly WalSegment[];
  readonly reachedLsn: bigint;
  readonly segmentBytes: number;
  readonly signal: AbortSignal;
}

/** The marked points next to where recovery ended. */
interface Neighbours {
  /** The newest at or before it; undefined when there is none behind the backup. */
  readonly last: NamedPoint | undefined;
  /** The oldest after it. */
  readonly next: NamedPoint | undefined;
}

/**
 * Compares the marker's row in the recovered database with the restore points of the WAL: the commit before the last point
 * must be there, and the one after the next must not. Exactly at a point, the commit after it must not be there either.
 */
export async function checkMarker(
  session: Session,
  subject: MarkerSubject,
): Promise<Pick<CheckResult, "status" | "expected" | "actual">> {
  const { last, next } = await findNeighbours(subject);
  if (last === undefined && next === undefined) {
    const actual = "no run behind the backup was marked: marker: true is newer than they are";
    return { status: "unverified", expected: "a mark before the point, and none after it", actual };
  }
  const allowed = expectedRows({ last, next }, subject.reachedLsn);
  const expected = last === undefined ? `no mark of ${next?.name ?? "a later run"}` : allowed.join(", or ");
  const [found] = await session.query("SELECT to_regclass($1) IS NOT NULL", [MARKER_TABLE]);
  if (found?.[0] !== "t") {
    const actual = `the recovered database has no table ${MARKER_TABLE}: its backup is older than marker: true`;
    // A marked point was made after the table: its loss is a loss of data.
    return { status: last === undefined ? "unverified" : "failed", expected, actual };
  }
  const [row] = await session.query(`SELECT point, side, written_at::text FROM ${MARKER_TABLE} WHERE id = 1`);
  if (row === undefined) return { status: "failed", expected, actual: "no row" };
  const [point, side, writtenAt] = row;
  if (point == null || side == null) {
    return { status: last === undefined ? "passed" : "failed", expected, actual: "no mark yet" };
  }
  const mark = describeMark(point, side === "after" ? "after" : "before");
  const actual = `${mark}, written at ${writtenAt ?? "no time"}`;
  if (last !== undefined) return { status: allowed.includes(mark) ? "passed" : "failed", expected, actual };
  // Of the runs before the backup nothing is known here: only what is too new can be told.
  const tooNew = point === next?.name && side === "after";
  return { status: tooNew ? "failed" : "passed", expected, actual };
}

/** In the order of the WAL: the mark before a point, the point, the mark after it, the mark before the next point. */
function expectedRows({ last, next }: Neighbours, reachedLsn: bigint): string[] {
  if (last === undefined) return [];
  const before = describeMark(last.name, "before");
  if (lsn(last.lsn) === reachedLsn) return [before];
  const after = describeMark(last.name, "after");
  return next === undefined ? [before, after] : [before, after, describeMark(next.name, "before")];
}

function describeMark(point: string, side: MarkerSide): string {
  return `the mark ${side} ${point}`;
}

async function findNeighbours(subject: MarkerSubject): Promise<Neighbours> {
  const { chain, reachedLsn } = subject;
  const at = chain.findLastIndex(({ number }) => BigInt(number) * BigInt(subject.segmentBytes) < reachedLsn);
  let last: NamedPoint | undefined;
  for (let index = at; index >= 0 && last === undefined; index -= 1) {
    last = (await markedPoints(subject, chain[index])).findLast((point) => lsn(point.lsn) <= reachedLsn);
  }
  let next: NamedPoint | undefined;
  for (let index = Math.max(0, at); index < chain.length && next === undefined; index += 1) {
    next = (await markedPoints(subject, chain[index])).find((point) => lsn(point.lsn) > reachedLsn);
  }
  return { last, next };
}

async function markedPoints(
  { setting, signal }: MarkerSubject,
  segment: WalSegment | undefined,
): Promise<readonly NamedPoint[]> {
  if (segment === undefined) return [];
  const { restorePoints } = await readSidecarOf(setting.store, setting.name, segment, signal);
  return (restorePoints ?? []).filter(({ name }) => isMarkedPoint(name));
}
