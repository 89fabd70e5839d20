import { messageOf, ToolError } from "../errors.ts";
import { DeletionRefused, type Store } from "../stores/store.ts";
import { listBackups } from "./backups.ts";
import { encodeDocument } from "./documents.ts";
import { manifestKey, objectKey, parseWalKey, verificationKey, walPrefix } from "./layout.ts";
import { parseSegmentName } from "./lsn.ts";
import type { BackupManifest } from "./manifest.ts";
import { newestProof } from "./proof.ts";
import { type Decision, decide, type RetentionPolicy, selectExpired } from "./retention.ts";

/** Where a backup's WAL begins. */
export interface WalStart {
  readonly timeline: number;
  /** Number of the segment. */
  readonly number: number;
  readonly segmentBytes: number;
}

export interface PruneRequest {
  readonly policy: RetentionPolicy;
  readonly now: Date;
  /** Where a backup's WAL begins; undefined for kinds without WAL. */
  readonly walStart: (manifest: BackupManifest) => WalStart | undefined;
  /** Deletes nothing, and tells what would be deleted. */
  readonly dryRun: boolean;
}

export interface Pruned {
  /** Every backup that is older than the policy keeps backups, oldest first. */
  readonly decisions: readonly Decision[];
  /** Ids of the deleted backups, oldest first; in a dry run of those that would be deleted. */
  readonly backups: readonly string[];
  /** How many WAL segments were deleted, or would be. */
  readonly segments: number;
  /** What the store did not let go, and what that means: a sentence each. */
  readonly refusals: readonly string[];
}

const BATCH = 500;

/**
 * Deletes the backups that {@link decide} lets go, and the WAL before the oldest backup that stays. Deletes nothing at all
 * unless every object of the newest backup, and of the one whose proof counts, is in the store in its full size. Only
 * objects that a manifest or their name proves to be ours are touched. What the store refuses to delete, because it is
 * locked there, stays and is no error.
 */
export async function prune(
  store: Store,
  component: string,
  request: PruneRequest,
  signal?: AbortSignal,
): Promise<Pruned> {
  const { policy, now, walStart, dryRun } = request;
  const backups = await listBackups(store, component, signal);
  const newest = backups.at(-1);
  if (newest === undefined) return { decisions: [], backups: [], segments: 0, refusals: [] };
  await assertWhole(store, component, newest, "newest", signal);

  const candidate = selectExpired(backups, policy, now).at(-1);
  const proof = candidate && (await newestProof(store, component, backups, candidate, signal));
  const proven = backups.find((backup) => backup.id === proof?.backupId);
  if (proven !== undefined) await assertWhole(store, component, proven, "newest proven", signal);
  const decisions = decide(backups, policy, proof, now);

  const gone: string[] = [];
  const refusals: string[] = [];
  for (const { backup, verdict } of decisions) {
    if (verdict !== "goes") continue;
    const refusal = dryRun ? undefined : await deleteBackup(store, component, backup, signal);
    if (refusal !== undefined) refusals.push(refusal);
    if (refusal === undefined || !(await isListed(store, component, backup, signal))) gone.push(backup.id);
  }
  const kept = backups.filter((backup) => !gone.includes(backup.id)).map(walStart);
  const { segments, keys } = await unneededWal(store, component, kept, signal);
  if (!dryRun) {
    const refusal = await deleteWal(store, keys, signal);
    if (refusal !== undefined) refusals.push(refusal);
  }
  return { decisions, backups: gone, segments, refusals };
}

/**
 * Without its manifest a backup is no longer listed, so nobody starts to recover from what is being deleted, and a run
 * that is killed meanwhile leaves parts that the next one clears away. The manifest was written last, so a lock that the
 * bucket puts on everything ends for it last too; where a part is locked for longer, the manifest comes back. Returns what
 * was refused.
 */
async function deleteBackup(
  store: Store,
  component: string,
  backup: BackupManifest,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const manifest = manifestKey(component, backup.id);
  const parts = backup.objects.map((object) => objectKey(component, backup.id, object.name));
  const locked = `The store does not let the backup ${backup.id} go, by a lock (S3 Object Lock, a legal hold) or because the credentials may not delete`;
  try {
    await store.delete([manifest], signal);
  } catch (error) {
    if (!(error instanceof DeletionRefused)) throw error;
    return `${locked}: it stays whole and listed, and goes with a later run. ${messageOf(error)}`;
  }
  try {
    await store.delete([...parts, verificationKey(component, backup.id)], signal);
    return undefined;
  } catch (error) {
    if (!(error instanceof DeletionRefused)) throw error;
    if ((await flawOf(store, component, backup, signal)) === undefined) {
      await store.create(manifest, encodeDocument(backup), signal);
      return `${locked}: it stays whole and listed, and goes with a later run. ${messageOf(error)}`;
    }
    return `${locked} as a whole: it is no longer listed, and later runs try to delete the parts that remain. ${messageOf(error)}`;
  }
}

async function isListed(
  store: Store,
  component: string,
  backup: BackupManifest,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  return (await store.stat(manifestKey(component, backup.id), signal)) !== undefined;
}

async function assertWhole(
  store: Store,
  component: string,
  backup: BackupManifest,
  which: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const flaw = await flawOf(store, component, backup, signal);
  if (flaw === undefined) return;
  throw new ToolError(
    `Nothing was deleted by retention, because the ${which} backup ${backup.id} is not whole: ${flaw}. Take a new backup.`,
  );
}

/** Which object of a backup is not as its manifest says; undefined when all are there in their full size. */
async function flawOf(
  store: Store,
  component: string,
  backup: BackupManifest,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  for (const object of backup.objects) {
    const key = objectKey(component, backup.id, object.name);
    const found = await store.stat(key, signal);
    if (found === undefined) return `${store.describe(key)} is absent`;
    if (found.bytes !== object.storedBytes) {
      return `${store.describe(key)} has ${found.bytes} bytes instead of ${object.storedBytes}`;
    }
  }
  return undefined;
}

/**
 * WAL that no backup that stays can ask for, and partials whose segment is there as a whole. History files stay: they
 * are small, and timelines need them all.
 */
async function unneededWal(
  store: Store,
  component: string,
  starts: readonly (WalStart | undefined)[],
  signal: AbortSignal | undefined,
): Promise<{ readonly segments: number; readonly keys: readonly string[] }> {
  const known = starts.filter((start) => start !== undefined);
  const oldest = known[0];
  // A backup whose WAL is unknown may need any of it.
  if (oldest === undefined || known.length < starts.length) return { segments: 0, keys: [] };
  if (known.some((start) => start.segmentBytes !== oldest.segmentBytes)) return { segments: 0, keys: [] };
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
  return { segments: segments.size, keys };
}

/** Oldest first, so that what a killed run leaves is still an unbroken chain. Returns what was refused. */
async function deleteWal(
  store: Store,
  keys: readonly string[],
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  try {
    for (let index = 0; index < keys.length; index += BATCH) {
      await store.delete(keys.slice(index, index + BATCH), signal);
    }
    return undefined;
  } catch (error) {
    if (!(error instanceof DeletionRefused)) throw error;
    return `The store does not let WAL go that no backup needs any more, by a lock or because the credentials may not delete: it stays, and goes with a later run. ${messageOf(error)}`;
  }
}
