import { DefectError, UserError } from "../errors.ts";
import { ObjectMissing, type Store } from "../stores/store.ts";
import { readDocument } from "./documents.ts";
import { glanceAtHeartbeat } from "./heartbeat.ts";
import { backupsPrefix, isBackupId, manifestId, manifestKey } from "./layout.ts";
import { type BackupManifest, backupManifest } from "./manifest.ts";

/** The ids of a component's backups in ascending order, which is the order of time. */
export async function listBackupIds(
  store: Store,
  component: string,
  signal?: AbortSignal,
): Promise<string[]> {
  const ids: string[] = [];
  for await (const object of store.list(backupsPrefix(component), signal)) {
    const id = manifestId(component, object.key);
    if (id !== undefined) ids.push(id);
  }
  return ids.sort();
}

/**
 * The manifests of all backups of a component, oldest first. A manifest that cannot be read is a
 * {@link DefectError} that names it.
 */
export async function listBackups(
  store: Store,
  component: string,
  signal?: AbortSignal,
): Promise<BackupManifest[]> {
  const backups: BackupManifest[] = [];
  const ids = await listBackupIds(store, component, signal);
  const newest = (await glanceAtHeartbeat(store, component, signal))?.newestBackup;
  // A listing may lag behind; it is read as the others are, so one that was deleted does no harm.
  if (newest != null && isBackupId(newest) && !ids.includes(newest)) ids.push(newest);
  for (const id of ids) {
    const manifest = await readManifest(store, component, id, signal).catch((error: unknown) => {
      // Another run's retention deleted it since it was listed.
      if (error instanceof ObjectMissing) return undefined;
      throw error;
    });
    if (manifest !== undefined) backups.push(manifest);
  }
  // Ids are only as fine as a second.
  return backups.sort((a, b) => Date.parse(a.startedAt) - Date.parse(b.startedAt));
}

/** One backup. Throws a {@link UserError} that names the backups there are when there is no such id. */
export async function readBackup(
  store: Store,
  component: string,
  id: string,
  signal?: AbortSignal,
): Promise<BackupManifest> {
  try {
    if (isBackupId(id)) return await readManifest(store, component, id, signal);
  } catch (error) {
    if (!(error instanceof ObjectMissing)) throw error;
  }
  const ids = await listBackupIds(store, component, signal);
  const newest = ids.slice(-3).reverse().join(", ");
  throw new UserError(
    ids.length === 0
      ? `There is no backup "${id}" of ${component}, and no other: run the backup action first.`
      : `There is no backup "${id}" of ${component}: the newest are ${newest}.`,
  );
}

export async function readManifest(
  store: Store,
  component: string,
  id: string,
  signal: AbortSignal | undefined,
): Promise<BackupManifest> {
  const key = manifestKey(component, id);
  const manifest = await readDocument(store, key, backupManifest, signal);
  if (manifest.id === id && manifest.component === component) return manifest;
  const subject = store.describe(key);
  throw new DefectError(
    subject,
    `${subject} describes the backup ${manifest.id} of ${manifest.component}: it was copied or renamed.`,
  );
}
