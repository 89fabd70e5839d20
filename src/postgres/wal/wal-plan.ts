import { listBackups } from "../../catalog/backups.ts";
import { glanceAtHeartbeat } from "../../catalog/heartbeat.ts";
import { manifestKey } from "../../catalog/layout.ts";
import { formatLsn, lsn, parseSegmentName, segmentAt, segmentName, segmentStart } from "../../catalog/lsn.ts";
import {
  isOnPath,
  parseHistory,
  rootTimeline,
  type TimelinePath,
  timelineOfSegment,
} from "../../catalog/timelines.ts";
import { withPromised, withUnlisted } from "../../catalog/unlisted.ts";
import { chainFrom, listSegments, type WalInventory, wholeSegments } from "../../catalog/wal.ts";
import type { Context } from "../../context.ts";
import { ToolError } from "../../errors.ts";
import { readDetails } from "../details.ts";
import type { Connection } from "../source/connection.ts";
import type { Slot } from "../source/slot.ts";
import { type ClusterIdentity, need } from "../source/source-facts.ts";
import { archiveHistory, type WalArchive } from "./wal-archive.ts";

/** Where a pull begins. */
export interface WalPlan {
  readonly path: TimelinePath;
  /** Number of the first segment to pull. */
  readonly first: number;
  /** Where a new chain would begin: everything from here on can be had. */
  readonly freshFirst: number;
  /** Name of the last whole segment of the archive's chain; undefined when there is none. */
  readonly last: string | undefined;
  /** What was in the store before. */
  readonly inventory: WalInventory;
}

/** A run of segments on one timeline; `last` is open on the server's current one. */
export interface Leg {
  readonly timeline: number;
  readonly first: number;
  readonly last: number;
}

/** The server's timeline with its ancestors; their history files go into the store. */
export async function storeTimelines(
  replication: Connection,
  identity: ClusterIdentity,
  archive: WalArchive,
  context: Context,
): Promise<TimelinePath> {
  const { timeline } = identity;
  if (timeline === 1) return rootTimeline(1);
  const content = await readServerHistory(replication, timeline);
  const path = parseHistory(timeline, content);
  if (path === undefined)
    throw new ToolError(`The server's history file of timeline ${timeline} is damaged.`);
  await archiveHistory(archive, timeline, content, context);
  return path;
}

async function readServerHistory(replication: Connection, timeline: number): Promise<string> {
  const [row] = await replication.query("reading the timeline's history", `TIMELINE_HISTORY ${timeline}`);
  return need(row, "content");
}

/**
 * Continues where the archive's unbroken chain from the newest backup ends; without a backup, where the oldest
 * unbroken chain ends; with no WAL at all, at `startLsn`. A partial segment is no end: it is pulled as a whole.
 */
export async function planPull(
  archive: WalArchive,
  identity: ClusterIdentity,
  path: TimelinePath,
  startLsn: string,
  context: Context,
): Promise<WalPlan> {
  const { store, component } = archive;
  const { walSegmentBytes } = identity;
  const freshFirst = segmentAt(lsn(startLsn), walSegmentBytes);
  const { signal } = context;
  const listed = await listSegments(store, component, walSegmentBytes, signal);
  const beat = await glanceAtHeartbeat(store, component, signal);
  const { histories, ...rest } = await withPromised(store, component, listed, beat, signal);
  // It was archived just now: too late for some listings.
  const promised = { ...rest, histories: new Map([...histories, [path.timeline, path]]) };

  const anchor = (await anchorAtBackup(archive, path, context)) ?? anchorAtOldest(promised, path);
  if (anchor === undefined) {
    return { path, first: freshFirst, freshFirst, last: undefined, inventory: promised };
  }

  const from = { ...anchor, target: path.timeline };
  const inventory = await withUnlisted(store, component, promised, from, signal);
  const chain = wholeSegments(chainFrom(inventory, anchor.position, anchor.timeline, path.timeline));
  const first = (chain.at(-1)?.number ?? segmentAt(anchor.position, walSegmentBytes) - 1) + 1;
  if (segmentStart(first, walSegmentBytes) > lsn(identity.flushedTo)) {
    throw new ToolError(
      `The archive of "${component}" holds WAL up to ${formatLsn(segmentStart(first, walSegmentBytes))}, but the server is only at ${identity.flushedTo}: either it is a standby that has yet to catch up, then run the action again; or it was set back to an older state without a new timeline, then give it another component name or prefix.`,
    );
  }
  return { path, first, freshFirst, last: chain.at(-1)?.name, inventory };
}

/** Where the chain that is to be continued begins. */
interface Anchor {
  readonly position: bigint;
  readonly timeline: number;
}

/** The newest backup's start, when the server's timeline grew out of it. */
async function anchorAtBackup(
  archive: WalArchive,
  path: TimelinePath,
  context: Context,
): Promise<Anchor | undefined> {
  const { store, component } = archive;
  const newest = (await listBackups(store, component, context.signal)).at(-1);
  if (newest === undefined) return undefined;
  const details = readDetails(newest, store.describe(manifestKey(component, newest.id)));
  const position = lsn(details.startLsn);
  return isOnPath(path, details.timeline, position) ? { position, timeline: details.timeline } : undefined;
}

/** Without a backup: the oldest segment on the server's timelines, also one whose upload was broken off. */
function anchorAtOldest(inventory: WalInventory, path: TimelinePath): Anchor | undefined {
  const { segmentBytes } = inventory;
  let oldest = Number.POSITIVE_INFINITY;
  for (const name of [...inventory.segments.keys(), ...inventory.unfinished]) {
    const segment = parseSegmentName(name, segmentBytes);
    if (segment === undefined) continue;
    if (segment.timeline !== timelineOfSegment(path, segment.number, segmentBytes)) continue;
    oldest = Math.min(oldest, segment.number);
  }
  if (!Number.isFinite(oldest)) return undefined;
  return {
    position: segmentStart(oldest, segmentBytes),
    timeline: timelineOfSegment(path, oldest, segmentBytes),
  };
}

/** The runs of segments from `first` on, timeline by timeline. */
export function legsFrom(path: TimelinePath, first: number, segmentBytes: number): Leg[] {
  const legs: Leg[] = [];
  let next = first;
  for (const ancestor of path.ancestors) {
    const last = segmentAt(ancestor.end, segmentBytes) - 1;
    if (next > last) continue;
    legs.push({ timeline: ancestor.timeline, first: next, last });
    next = last + 1;
  }
  legs.push({ timeline: path.timeline, first: next, last: Number.POSITIVE_INFINITY });
  return legs;
}

/** The chain cannot be continued: what is missing and what to do. */
export function gapSentence(component: string, plan: WalPlan, slot: Slot, segmentBytes: number): string {
  const timeline = timelineOfSegment(plan.path, plan.first, segmentBytes);
  const missing = segmentName(timeline, plan.first, segmentBytes);
  return `The WAL archive of "${component}" ends before segment ${missing}, which the server has already removed: the slot "${slot.name}" was created, dropped or lost in between (max_slot_wal_keep_size limits what it keeps)`;
}
