import { readHeartbeat } from "../../catalog/heartbeat.ts";
import { sidecarKey } from "../../catalog/layout.ts";
import { lsn, parseSegmentName, segmentBefore } from "../../catalog/lsn.ts";
import {
  chainFrom,
  listSegments,
  missingAfter,
  newestRestorePoint,
  type RestorePoint,
  timelinesFrom,
  type WalInventory,
  type WalSegment,
} from "../../catalog/wal.ts";
import { endOfNeededWal } from "../details.ts";
import type { StoreSetting } from "../store-setting.ts";
import { type Candidate, readMicros } from "./candidates.ts";
import { missingHistory, missingWal, noNamedPoint } from "./plan-refusals.ts";

/** A backup and the WAL that follows it without a gap. */
export interface Reach extends Candidate {
  /** The timeline to follow. */
  readonly timeline: number;
  readonly chain: readonly WalSegment[];
  /** The first segment that the chain lacks. */
  readonly missing: string;
  /** Whether there is more WAL behind the missing segment, so that it is a gap and not the archive's end. */
  readonly gap: boolean;
  /** A timeline of which there is WAL but no history file, so that nobody can tell where it belongs. */
  readonly orphan: number | undefined;
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
  inventory(segmentBytes: number): Promise<WalInventory>;
  /** The segment up to which the last successful run archived, so that a loss at the very end is seen too. */
  lastArchived(): Promise<string | undefined>;
}

export function openArchive(setting: StoreSetting, signal: AbortSignal): Archive {
  const { store, name } = setting;
  const inventories = new Map<number, Promise<WalInventory>>();
  let last: Promise<string | undefined> | undefined;
  return {
    setting,
    inventory(segmentBytes) {
      const known = inventories.get(segmentBytes) ?? listSegments(store, name, segmentBytes, signal);
      inventories.set(segmentBytes, known);
      return known;
    },
    lastArchived() {
      last ??= readHeartbeat(store, name, signal).then((beat) => beat?.lastSegment ?? undefined);
      return last;
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
  const inventory = await archive.inventory(details.walSegmentBytes);
  const start = lsn(details.startLsn);
  const timeline = wanted ?? youngestTimeline(inventory, start, details.timeline);
  const chain = chainFrom(inventory, start, details.timeline, timeline);
  const missing = missingAfter(inventory, start, details.timeline, timeline);
  const found = await newestRestorePoint(store, name, chain, signal);
  const beyond = found !== undefined && lsn(found.point.lsn) > stopLsn;
  return {
    ...candidate,
    timeline,
    chain,
    missing,
    gap: isGap(inventory, missing, timeline, await archive.lastArchived()),
    orphan: wanted === undefined ? orphanTimeline(inventory, timeline) : undefined,
    newest: beyond
      ? {
          point: found.point,
          lastNumber: Math.max(
            found.segment.number,
            segmentBefore(lsn(found.point.lsn), details.walSegmentBytes),
          ),
          micros: readMicros(found.point.time, store.describe(sidecarKey(name, found.segment.name))),
        }
      : undefined,
  };
}

/** The youngest timeline that the archive really holds, as PostgreSQL's own `latest` would choose it. */
function youngestTimeline(inventory: WalInventory, start: bigint, timeline: number): number {
  const held = new Set([...inventory.segments.values()].map((segment) => segment.timeline));
  return timelinesFrom(inventory, start, timeline).findLast((one) => held.has(one)) ?? timeline;
}

function isGap(
  inventory: WalInventory,
  missing: string,
  timeline: number,
  last: string | undefined,
): boolean {
  const { segmentBytes } = inventory;
  const hole = parseSegmentName(missing, segmentBytes)?.number ?? 0;
  const archived = last === undefined ? undefined : parseSegmentName(last, segmentBytes);
  // Segments are stored in any order, so a run that was broken off, or is under way, leaves holes behind the last
  // successful run's end: nothing was promised there, and the next run fills them.
  if (archived !== undefined && archived.timeline === timeline) return archived.number >= hole;
  const behind = [...inventory.segments.keys(), ...inventory.unfinished]
    .map((name) => parseSegmentName(name, segmentBytes))
    .filter((segment) => segment !== undefined);
  return behind.some((segment) => segment.timeline === timeline && segment.number > hole);
}

function orphanTimeline({ segments, histories }: WalInventory, followed: number): number | undefined {
  const held = [...segments.values()].map((segment) => segment.timeline);
  return held.find((timeline) => timeline > followed && !histories.has(timeline));
}

/** Throws the {@link import("../../errors.ts").DefectError} for a backup whose own WAL is not whole. */
export async function requireConsistency(
  { setting }: Archive,
  reach: Reach,
  signal: AbortSignal,
): Promise<void> {
  const needed = segmentBefore(endOfNeededWal(reach.details), reach.details.walSegmentBytes);
  if ((reach.chain.at(-1)?.number ?? -1) >= needed) return;
  throw await missingWal(setting, reach.missing, reach.manifest.id, signal);
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
  if (reach.gap) throw await missingWal(setting, reach.missing, reach.manifest.id, signal);
  if (reach.newest === undefined) throw noNamedPoint(setting.name, reach.manifest.id);
  return reach.newest;
}
