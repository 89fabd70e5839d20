import { ToolError } from "../errors.ts";
import type { Store } from "../stores/store.ts";
import { listBackups } from "./backups.ts";
import {
  backupsPrefix,
  manifestId,
  manifestKey,
  objectKey,
  parseWalKey,
  partOf,
  walPrefix,
} from "./layout.ts";
import { parseSegmentName } from "./lsn.ts";
import type { BackupManifest } from "./manifest.ts";

export interface RetentionPolicy {
  /** Backups older than this may go. */
  readonly keepSeconds: number;
  /** So many of the newest backups stay, however old they are; at least 1. */
  readonly minimum: number;
}

/** Where a backup's WAL begins. */
export interface WalStart {
  readonly timeline: number;
  /** Number of the segment. */
  readonly number: number;
  readonly segmentBytes: number;
}

export interface Pruned {
  /** Ids of the deleted backups, oldest first. */
  readonly backups: readonly string[];
  /** Ids of unfinished backups whose parts were deleted. */
  readonly leftovers: readonly string[];
  /** How many WAL segments were deleted. */
  readonly segments: number;
}

/** Parts without a manifest are a backup that is being taken, or one that was broken off: nobody needs this long. */
const LEFTOVER_SECONDS = 7 * 86_400;
const BATCH = 500;

/**
 * Deletes backups older than `keepSeconds` beyond the `minimum`, and the WAL before the oldest backup that stays.
 * Never deletes the newest, and deletes nothing at all unless every object of the newest is in the store in its full
 * size. Only objects that a manifest or their name proves to be ours are touched. `walStart` says where a backup's
 * WAL begins; undefined for kinds without WAL.
 */
export async function prune(
  store: Store,
  component: string,
  policy: RetentionPolicy,
  now: Date,
  walStart: (manifest: BackupManifest) => WalStart | undefined,
  signal?: AbortSignal,
): Promise<Pruned> {
  const backups = await listBackups(store, component, signal);
  const newest = backups.at(-1);
  if (newest === undefined) return { backups: [], leftovers: [], segments: 0 };
  await assertWhole(store, component, newest, signal);

  const expired = selectExpired(backups, policy, now);
  const kept = backups.filter((backup) => !expired.includes(backup));
  for (const backup of expired) {
    // Without its manifest it is no longer listed, so nobody starts to recover from what is being deleted.
    await store.delete([manifestKey(component, backup.id)], signal);
    await store.delete(
      backup.objects.map((object) => objectKey(component, backup.id, object.name)),
      signal,
    );
  }
  const leftovers = await deleteLeftovers(store, component, newest, now, signal);
  const segments = await deleteWal(store, component, kept.map(walStart), signal);
  return { backups: expired.map((backup) => backup.id), leftovers, segments };
}

/** The backups that a policy no longer asks for, oldest first; never the newest. `backups` are in order of time. */
export function selectExpired(
  backups: readonly BackupManifest[],
  policy: RetentionPolicy,
  now: Date,
): BackupManifest[] {
  const limit = now.getTime() - policy.keepSeconds * 1000;
  const surplus = backups.slice(0, Math.max(0, backups.length - Math.max(1, policy.minimum)));
  return surplus.filter((backup) => Date.parse(backup.finishedAt) < limit);
}

async function assertWhole(
  store: Store,
  component: string,
  backup: BackupManifest,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (const object of backup.objects) {
    const key = objectKey(component, backup.id, object.name);
    const found = await store.stat(key, signal);
    if (found?.bytes === object.storedBytes) continue;
    const state =
      found === undefined ? "is absent" : `has ${found.bytes} bytes instead of ${object.storedBytes}`;
    throw new ToolError(
      `Nothing was deleted by retention, because the newest backup ${backup.id} is not whole: ${store.describe(key)} ${state}. Take a new backup.`,
    );
  }
}

/** Parts of backups that never got their manifest and are too old to be still in the making. */
async function deleteLeftovers(
  store: Store,
  component: string,
  newest: BackupManifest,
  now: Date,
  signal: AbortSignal | undefined,
): Promise<string[]> {
  const parts = new Map<string, { keys: string[]; modified: number }>();
  const listed = new Set<string>();
  for await (const object of store.list(backupsPrefix(component), signal)) {
    const manifest = manifestId(component, object.key);
    if (manifest !== undefined) listed.add(manifest);
    const id = partOf(component, object.key);
    if (id === undefined) continue;
    const part = parts.get(id) ?? { keys: [], modified: 0 };
    part.keys.push(object.key);
    part.modified = Math.max(part.modified, object.modified.getTime());
    parts.set(id, part);
  }
  const limit = now.getTime() - LEFTOVER_SECONDS * 1000;
  const dead = [...parts].filter(([id, part]) => !listed.has(id) && id < newest.id && part.modified < limit);
  for (const [, part] of dead) await store.delete(part.keys, signal);
  return dead.map(([id]) => id);
}

/**
 * WAL that no backup that stays can ask for, and partials whose segment is there as a whole. History files stay: they
 * are small, and timelines need them all.
 */
async function deleteWal(
  store: Store,
  component: string,
  starts: readonly (WalStart | undefined)[],
  signal: AbortSignal | undefined,
): Promise<number> {
  const known = starts.filter((start) => start !== undefined);
  const oldest = known[0];
  // A backup whose WAL is unknown may need any of it.
  if (oldest === undefined || known.length < starts.length) return 0;
  if (known.some((start) => start.segmentBytes !== oldest.segmentBytes)) return 0;
  const first = Math.min(...known.map((start) => start.number));
  const timeline = Math.min(...known.map((start) => start.timeline));
  const keys: string[] = [];
  const segments = new Set<string>();
  let partials: { readonly segment: string; readonly keys: string[] } = { segment: "", keys: [] };
  let sidecar = "";
  for await (const object of store.list(walPrefix(component), signal)) {
    const name = parseWalKey(component, object.key);
    if (name === undefined || name.kind === "history") continue;
    const { segment } = name;
    const parsed = parseSegmentName(segment, oldest.segmentBytes);
    if (parsed === undefined) continue;
    if (parsed.number < first && parsed.timeline <= timeline) {
      keys.push(object.key);
      segments.add(segment);
      continue;
    }
    // In the order of keys the partials of a segment come first, then its sidecar, then the segment.
    if (name.kind === "sidecar") sidecar = segment;
    else if (name.kind === "segment") {
      if (sidecar === segment && partials.segment === segment) keys.push(...partials.keys);
    } else {
      if (partials.segment !== segment) partials = { segment, keys: [] };
      partials.keys.push(object.key);
    }
  }
  for (let index = 0; index < keys.length; index += BATCH) {
    await store.delete(keys.slice(index, index + BATCH), signal);
  }
  return segments.size;
}
