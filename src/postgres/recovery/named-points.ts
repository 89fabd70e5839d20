import { lsn, segmentBefore } from "../../catalog/lsn.ts";
import { type NamedPoint, readSidecarOf, sidecarKeyOf, type WalSegment } from "../../catalog/wal.ts";
import { readMicros } from "./candidates.ts";
import { ambiguousPoint, unknownPoint } from "./plan-refusals.ts";
import { measureReach, requireConsistency, requireEnd } from "./reach.ts";
import type { Choice, Resolved } from "./resolve-target.ts";

/** Sidecars are read this many at a time. */
const PARALLEL = 16;

/**
 * Finds a restore point by its name, behind the newest backup that has one of that name behind it. PostgreSQL stops at the
 * first that it meets, so a second of the same name behind that backup is refused. Throws a UserError for a name that
 * the archive does not hold, and a DefectError when WAL is missing in which it may be.
 */
export async function findNamedPoint(choice: Choice, name: string): Promise<Resolved> {
  const { archive, candidates, timeline, signal } = choice;
  const { store, name: component } = archive.setting;
  const sidecars = new Map<string, Promise<readonly NamedPoint[]>>();

  function pointsOf(segment: WalSegment): Promise<readonly NamedPoint[]> {
    const known =
      sidecars.get(segment.name) ??
      readSidecarOf(store, component, segment, signal).then(({ restorePoints }) => restorePoints ?? []);
    sidecars.set(segment.name, known);
    return known;
  }

  const others = new Set<string>();
  for (const candidate of candidates.toReversed()) {
    const reach = await measureReach(archive, candidate, timeline, signal);
    const points = await collect(reach.chain, pointsOf, lsn(candidate.details.startLsn));
    for (const point of points) others.add(point.name);
    const found = points.filter((point) => point.name === name);
    const behind = found.filter((point) => lsn(point.lsn) > candidate.stopLsn);
    const point = behind[0];
    if (point === undefined) continue;
    if (found.length > 1) throw ambiguousPoint(component, name, candidate.manifest.id, found);
    await requireConsistency(archive, reach, signal);
    const position = lsn(point.lsn);
    const lastNumber = segmentBefore(position, candidate.details.walSegmentBytes);
    const holder = reach.chain.find((segment) => segment.number === lastNumber) ?? { name: "" };
    const micros = readMicros(point.time, store.describe(sidecarKeyOf(component, holder)));
    return { reach, goal: { kind: "restore-point", name, lsn: position, micros }, lastNumber };
  }
  const newest = await measureReach(archive, candidates.at(-1) ?? candidates[0], timeline, signal);
  const oldest = candidates[0];
  throw unknownPoint(
    component,
    name,
    [...others],
    oldest.stopMicros,
    (await requireEnd(choice, newest)).micros,
  );
}

/** All points behind a position, in the order of the WAL. */
async function collect(
  chain: readonly WalSegment[],
  pointsOf: (segment: WalSegment) => Promise<readonly NamedPoint[]>,
  from: bigint,
): Promise<NamedPoint[]> {
  const points: NamedPoint[] = [];
  for (let start = 0; start < chain.length; start += PARALLEL) {
    const batch = await Promise.all(chain.slice(start, start + PARALLEL).map(pointsOf));
    points.push(...batch.flat());
  }
  return points.filter((point) => lsn(point.lsn) > from);
}
