import type { Context } from "../context.ts";
import { messageOf } from "../errors.ts";
import { DeletionRefused } from "../stores/store.ts";
import type { HeldLease } from "./held-lease.ts";
import { backupsPrefix, manifestId, partOf } from "./layout.ts";

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
  for (const [id, keys] of await unlistedParts({ store, takenAt }, component, signal)) {
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

/** By the id of the backup; none of which one part is newer than the lease. */
async function unlistedParts(
  { store, takenAt }: Pick<HeldLease, "store" | "takenAt">,
  component: string,
  signal: AbortSignal,
): Promise<Map<string, string[]>> {
  const parts = new Map<string, string[]>();
  const spared = new Set<string>();
  for await (const { key, modified } of store.list(backupsPrefix(component), signal)) {
    const listed = manifestId(component, key);
    if (listed !== undefined) spared.add(listed);
    const id = partOf(component, key);
    if (id === undefined) continue;
    if (modified > takenAt) spared.add(id);
    parts.set(id, [...(parts.get(id) ?? []), key]);
  }
  for (const id of spared) parts.delete(id);
  return parts;
}
