import type { Context } from "../context.ts";
import { messageOf } from "../errors.ts";
import { DeletionRefused } from "../stores/store.ts";
import type { HeldLease } from "./held-lease.ts";
import { backupsPrefix, manifestId, partOf, verificationId, verificationsPrefix } from "./layout.ts";

/**
 * Clears away what runs that were killed left below a component: parts of backups that never got their manifest, temporary
 * files, uploads that were never completed. Whoever holds the lease knows that no other run is at work, so all that was
 * written before it was taken is dead. Only what its name proves to be ours is touched. What the store refuses stays.
 */
export async function removeOrphans(
  { store, takenAt }: HeldLease,
  component: string,
  context: Context,
): Promise<void> {
  const { log, signal } = context;
  const unfinished = await store.removeUnfinished(`${component}/`, takenAt, signal);
  if (unfinished > 0) {
    log.info(
      `${component}: removed ${unfinished} unfinished file${unfinished === 1 ? "" : "s"} or uploads of a run that was killed.`,
    );
  }
  // Notes first: a backup is there before it is verified, so one that is not listed afterwards is gone.
  const notes: string[] = [];
  for await (const { key } of store.list(verificationsPrefix(component), signal)) notes.push(key);
  const { listed, parts } = await unlistedParts({ store, takenAt }, component, signal);
  const stale = notes.filter((key) => {
    const id = verificationId(component, key);
    return id !== undefined && !listed.has(id);
  });
  if (stale.length > 0) await store.delete(stale, signal);
  for (const [id, keys] of parts) {
    try {
      await store.delete(keys, signal);
      log.info(`${component}: deleted the parts of ${id}, a backup that was never finished.`);
    } catch (error) {
      if (!(error instanceof DeletionRefused)) throw error;
      log.warning(
        `${component}: the parts of ${id}, a backup that was never finished, remain: ${messageOf(error)}`,
      );
    }
  }
}

/** The ids of listed backups; parts of others by their id, but of none that somebody wrote to since the lease was taken. */
async function unlistedParts(
  { store, takenAt }: Pick<HeldLease, "store" | "takenAt">,
  component: string,
  signal: AbortSignal,
): Promise<{ readonly listed: ReadonlySet<string>; readonly parts: ReadonlyMap<string, string[]> }> {
  const parts = new Map<string, string[]>();
  const listed = new Set<string>();
  const alive = new Set<string>();
  for await (const { key, modified } of store.list(backupsPrefix(component), signal)) {
    const manifest = manifestId(component, key);
    if (manifest !== undefined) listed.add(manifest);
    const id = partOf(component, key);
    if (id === undefined) continue;
    if (modified > takenAt) alive.add(id);
    parts.set(id, [...(parts.get(id) ?? []), key]);
  }
  for (const id of [...listed, ...alive]) parts.delete(id);
  return { listed, parts };
}
