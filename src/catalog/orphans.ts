import type { Context } from "../context.ts";
import { AbortedError, messageOf } from "../errors.ts";
import type { HeldLease } from "./held-lease.ts";
import { backupsPrefix, manifestId, partOf, verificationId, verificationsPrefix } from "./layout.ts";

/**
 * Clears away what runs that were killed left below a component: parts of backups that never got their manifest, notes of
 * backups that are gone, temporary files, uploads that were never completed. Whoever holds the lease knows that no other run
 * is at work, so all that was written before it was taken is dead. Only what its name proves to be ours is touched. Best
 * effort: what remains only takes space, so a failure is a warning.
 */
export async function removeOrphans(lease: HeldLease, component: string, context: Context): Promise<void> {
  try {
    await removeAll(lease, component, context);
  } catch (error) {
    if (context.signal.aborted) throw new AbortedError();
    context.log.warning(
      `${component}: what a killed run left could not be cleared away: ${messageOf(error)}`,
    );
  }
}

async function removeAll({ store, takenAt }: HeldLease, component: string, context: Context): Promise<void> {
  const { log, signal } = context;
  const unfinished = await store.removeUnfinished(`${component}/`, takenAt, signal);
  if (unfinished > 0) {
    log.info(`${component}: removed ${unfinished} unfinished files or uploads of a run that was killed.`);
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
    await store.delete(keys, signal);
    log.info(`${component}: deleted the parts of ${id}, a backup that was never finished.`);
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
