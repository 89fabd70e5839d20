import { type Heartbeat, readHeartbeat } from "../../catalog/heartbeat.ts";
import { lsn, parseSegmentName, segmentBefore, segmentStart } from "../../catalog/lsn.ts";
import { type ChainStart, withPromised, withUnlisted } from "../../catalog/unlisted.ts";
import {
  allSegments,
  chainEnd,
  chainFrom,
  listSegments,
  missingAfter,
  newestRestorePoint,
  type RestorePoint,
  sidecarKeyOf,
  timelinesFrom,
  type WalInventory,
  type WalSegment,
} from "../../catalog/wal.ts";
import { parseTime } from "../../targets.ts";
import { endOfNeededWal, type PostgresDetails } from "../details.ts";
import type { StoreSetting } from "../store-setting.ts";
import { type Candidate, readMicros } from "./candidates.ts";
import { lostPoint, missingHistory, missingWal, noNamedPoint } from "./plan-refusals.ts";

/** A backup and the WAL that follows it without a gap. */
export interface Reach extends Candidate {
  /** The timeline to follow. */
  readonly timeline: number;
  readonly chain: readonly WalSegment[];
  /** The first segment that the chain lacks. */
  readonly missing: string;
  /** So many bytes of it were archived before it was whole; undefined when nobody said so. */
  readonly missingBytes: number | undefined;
  /** Whether there is more WAL behind the missing segment, so that it is a gap and not the archive's end. */
  readonly gap: boolean;
  /** A timeline of which there is WAL but no history file, so that nobody can tell where it belongs. */
  readonly orphan: number | undefined;
  /** Up to when the last successful run made the timeline recoverable; undefined when it does not say. */
  readonly promisedMicros: bigint | undefined;
  /** The newest named point that lies behind the backup's end. */
  readonly newest: ReachedPoint | undefined;
}

export interface ReachedPoint {
  readonly point: RestorePoint;
  /** The number of the last segment that replay needs to get there. */
  readonly lastNumber: number;
  readonly micros: bigint;
}

/** What a component's archive holds, read once for all backups of a plan. */
export interface Archive {
  readonly setting: StoreSetting;
  read(segmentBytes: number): Promise<Contents>;
}

interface Contents {
  readonly inventory: WalInventory;
  /** What the last successful run archived, so that a loss at the very end is seen too. */
  readonly beat: Heartbeat | undefined;
}

export function openArchive(setting: StoreSetting, signal: AbortSignal): Archive {
  const { store, name } = setting;
  const known = new Map<number, Promise<Contents>>();

  async function read(segmentBytes: number): Promise<Contents> {
    // Before the list: everything that it names must be there, also while a run goes on.
    const beat = await readHeartbeat(store, name, signal);
    const listed = await listSegments(store, name, segmentBytes, signal);
    return { inventory: await withPromised(store, name, listed, beat, signal), beat };
  }

  return {
    setting,
    read(segmentBytes) {
      const contents = known.get(segmentBytes) ?? read(segmentBytes);
      known.set(segmentBytes, contents);
      return contents;
    },
  };
}

/** Follows the WAL behind a backup, on that timeline or on the youngest that the archive really holds. */
export async function measureReach(
  archive: Archive,
  candidate: Candidate,
  wanted: number | undefined,
  signal: AbortSignal,
): Promise<Reach> {
  const { store, name } = archive.setting;
  const { details, stopLsn } = candidate;
  const { inventory: listed, beat } = await archive.read(details.walSegmentBytes);
  const start = lsn(details.startLsn);
  const timeline = wanted ?? youngestTimeline(listed, start, details.timeline);
  const from = { position: start, timeline: details.timeline, target: timeline };
  const inventory = falls(listed, from, details, beat)
    ? await withUnlisted(store, name, listed, from, signal)
    : listed;
  const chain = chainFrom(inventory, start, details.timeline, timeline);
  const missing = missingAfter(inventory, start, details.timeline, timeline);
  const found = await newestRestorePoint(store, name, chain, signal);
  const beyond = found !== undefined && lsn(found.point.lsn) > stopLsn;
  return {
    ...candidate,
    timeline,
    chain,
    missing,
    missingBytes: beat?.partial?.segment === missing ? beat.partial.bytes : undefined,
    gap: isGap(inventory, chain, missing, timeline, beat),
    promisedMicros: promisedMoment(beat, timeline, details.walSegmentBytes),
    orphan: wanted === undefined ? orphanTimeline(inventory, timeline) : undefined,
    newest: beyond
      ? {
          point: found.point,
          lastNumber: Math.max(
            found.segment.number,
            segmentBefore(lsn(found.point.lsn), details.walSegmentBytes),
          ),
          micros: readMicros(found.point.time, store.describe(sidecarKeyOf(name, found.segment))),
        }
      : undefined,
  };
}

/** Whether a chain falls short of what the archive is known to hold. */
function falls(
  inventory: WalInventory,
  { position, timeline, target }: Required<ChainStart> & { readonly target: number },
  details: PostgresDetails,
  beat: Heartbeat | undefined,
): boolean {
  const chain = chainFrom(inventory, position, timeline, target);
  if (chainEnd(chain, inventory.segmentBytes) < endOfNeededWal(details)) return true;
  return isGap(inventory, chain, missingAfter(inventory, position, timeline, target), target, beat);
}

/** The youngest timeline that the archive really holds, as PostgreSQL's own `latest` would choose it. */
function youngestTimeline(inventory: WalInventory, start: bigint, timeline: number): number {
  const held = new Set(allSegments(inventory).map((segment) => segment.timeline));
  return timelinesFrom(inventory, start, timeline).findLast((one) => held.has(one)) ?? timeline;
}

/** Whether WAL that was archived is not reached, so that a loss at the very end is seen too. */
function isGap(
  inventory: WalInventory,
  chain: readonly WalSegment[],
  missing: string,
  timeline: number,
  beat: Heartbeat | undefined,
): boolean {
  const { segmentBytes } = inventory;
  const hole = parseSegmentName(missing, segmentBytes)?.number ?? 0;
  // Segments are stored in any order, so a run that was broken off, or is under way, leaves holes behind what the last
  // heartbeat names: nothing was promised there, and the next run fills them.
  const promised = promisedEnd(beat, timeline, segmentBytes);
  if (promised !== undefined) {
    return promised > segmentStart(hole, segmentBytes) && promised > chainEnd(chain, segmentBytes);
  }
  const behind = [...inventory.segments.keys(), ...inventory.unfinished, ...inventory.partials.keys()]
    .map((name) => parseSegmentName(name, segmentBytes))
    .filter((segment) => segment !== undefined);
  return behind.some((segment) => segment.timeline === timeline && segment.number > hole);
}

/** Up to where WAL of a timeline was archived for certain, by the last heartbeat; undefined when it names none. */
function promisedEnd(
  beat: Heartbeat | undefined,
  timeline: number,
  segmentBytes: number,
): bigint | undefined {
  const whole = beat?.lastSegment == null ? undefined : { segment: beat.lastSegment, bytes: segmentBytes };
  // The partial lies behind the last whole segment.
  for (const part of [beat?.partial, whole]) {
    const parsed = part == null ? undefined : parseSegmentName(part.segment, segmentBytes);
    if (part == null || parsed?.timeline !== timeline) continue;
    return segmentStart(parsed.number, segmentBytes) + BigInt(part.bytes);
  }
  return undefined;
}

function promisedMoment(
  beat: Heartbeat | undefined,
  timeline: number,
  segmentBytes: number,
): bigint | undefined {
  if (beat?.recoverableUntil == null || promisedEnd(beat, timeline, segmentBytes) === undefined)
    return undefined;
  return parseTime(beat.recoverableUntil);
}

function orphanTimeline(inventory: WalInventory, followed: number): number | undefined {
  const held = allSegments(inventory).map((segment) => segment.timeline);
  return held.find((timeline) => timeline > followed && !inventory.histories.has(timeline));
}

/** Throws the {@link import("../../errors.ts").DefectError} for a backup whose own WAL is not whole. */
export async function requireConsistency(
  { setting }: Archive,
  reach: Reach,
  signal: AbortSignal,
): Promise<void> {
  const { chain, details } = reach;
  if (chainEnd(chain, details.walSegmentBytes) >= endOfNeededWal(details)) return;
  throw await missingWal(setting, reach, reach.manifest.id, signal);
}

/**
 * The newest point, for a target that may lie behind it. Ending at an older point, because WAL behind it is gone, would
 * be a loss that nobody sees: throws a DefectError that names what is gone, and a UserError when no point was ever made.
 */
export async function requireEnd(
  { archive: { setting }, signal }: { readonly archive: Archive; readonly signal: AbortSignal },
  reach: Reach,
): Promise<ReachedPoint> {
  if (reach.orphan !== undefined) throw missingHistory(setting, reach.orphan);
  if (reach.gap) throw await missingWal(setting, reach, reach.manifest.id, signal);
  const { newest, promisedMicros } = reach;
  if (promisedMicros !== undefined && (newest?.micros ?? 0n) < promisedMicros) {
    throw lostPoint(setting, promisedMicros, newest?.micros);
  }
  if (newest === undefined) throw noNamedPoint(setting.name, reach.manifest.id);
  return newest;
}
