import { readManifest } from "../../catalog/backups.ts";
import { readClusterIdentity } from "../../catalog/cluster.ts";
import {
  backupsPrefix,
  clusterKey,
  heartbeatKey,
  manifestId,
  manifestKey,
  objectKey,
  partOf,
} from "../../catalog/layout.ts";
import { lsn } from "../../catalog/lsn.ts";
import type { BackupManifest } from "../../catalog/manifest.ts";
import { DefectError } from "../../errors.ts";
import { ObjectMissing } from "../../stores/store.ts";
import { type PostgresDetails, readDetails } from "../details.ts";
import { NEW_BACKUP, type Subject } from "./subject.ts";

/** A backup whose manifest can be read and whose parts are there in their full size. */
export interface VerifiedBackup {
  readonly manifest: BackupManifest;
  readonly details: PostgresDetails;
  readonly startLsn: bigint;
  readonly storedBytes: number;
  /** Whether all its parts are there in their full size. */
  readonly whole: boolean;
}

export interface Backups {
  /** Oldest first. */
  readonly backups: readonly VerifiedBackup[];
  /** Objects and bytes below `backups/`. */
  readonly objects: number;
  readonly bytes: number;
}

/** Without these no backup can be recovered. */
const NEEDED = ["base.tar", "backup_manifest"];

/** Compares manifests with what is listed: no part is read. */
export async function inspectBackups(subject: Subject): Promise<Backups> {
  const { setting, context, findings } = subject;
  const { store, name } = setting;
  const sizes = new Map<string, number>();
  const ids: string[] = [];
  const withParts = new Set<string>();
  let bytes = 0;
  for await (const object of store.list(backupsPrefix(name), context.signal)) {
    sizes.set(object.key, object.bytes);
    bytes += object.bytes;
    const id = manifestId(name, object.key);
    if (id !== undefined) ids.push(id);
    const part = partOf(name, object.key);
    if (part !== undefined) withParts.add(part);
  }
  const backups: VerifiedBackup[] = [];
  for (const id of ids) {
    const backup = await inspectBackup(subject, id, sizes);
    if (backup !== undefined) backups.push(backup);
  }
  backups.sort((a, b) => Date.parse(a.manifest.startedAt) - Date.parse(b.manifest.startedAt));
  if (ids.length === 0) {
    const place = store.describe(backupsPrefix(name));
    findings.error(
      "no-backup",
      place,
      `${name} has no backup${withParts.size === 0 ? "" : `, only ${withParts.size} without a manifest`}: nothing can be recovered.`,
      "Run the backup action.",
    );
  }
  reportUnlisted(subject, ids, withParts);
  reportLost(subject, ids);
  if (ids.length > 0) await requireHeartbeat(subject);
  await inspectCluster(subject, backups);
  return { backups, objects: sizes.size, bytes };
}

/** Parts without a manifest that are older than the newest backup: a run that was broken off, or a manifest that is gone. */
function reportUnlisted(
  { setting, findings }: Subject,
  ids: readonly string[],
  parts: ReadonlySet<string>,
): void {
  const { store, name } = setting;
  const newest = ids.at(-1) ?? "";
  for (const id of parts) {
    if (ids.includes(id) || id > newest) continue;
    findings.warn(
      "backup-incomplete",
      store.describe(manifestKey(name, id)),
      `The backup ${id} of ${name} has parts but no manifest, so it cannot be recovered: its run was broken off, or the manifest was removed.`,
      "Nothing needs to be done when a run was broken off then: the next run removes the parts.",
    );
  }
}

/** A backup that a run finished, and that no retention removes because it is the newest. */
function reportLost({ setting, heartbeat, findings }: Subject, ids: readonly string[]): void {
  const { store, name } = setting;
  const id = heartbeat?.newestBackup;
  if (id == null || ids.includes(id)) return;
  const subject = store.describe(manifestKey(name, id));
  findings.error(
    "backup-incomplete",
    subject,
    `${subject} is missing: the newest backup ${id} of ${name} cannot be recovered.`,
    NEW_BACKUP,
  );
}

/** Without it nobody can tell how far the archive went when its newest objects are gone. */
async function requireHeartbeat({ setting, context, heartbeat, findings }: Subject): Promise<void> {
  const { store, name } = setting;
  // The first run ever may have written it since.
  if (heartbeat !== undefined || (await store.stat(heartbeatKey(name), context.signal))) return;
  const subject = store.describe(heartbeatKey(name));
  findings.error(
    "backup-incomplete",
    subject,
    `${subject} is missing, so nothing says up to where WAL was archived: a loss at its end would not be seen.`,
    "Run the backup action, which writes it anew, and find out what removed it.",
  );
}

async function inspectBackup(
  { setting, context, findings }: Subject,
  id: string,
  sizes: ReadonlyMap<string, number>,
): Promise<VerifiedBackup | undefined> {
  const { store, name } = setting;
  const subject = store.describe(manifestKey(name, id));
  let manifest: BackupManifest;
  let details: PostgresDetails;
  try {
    manifest = await readManifest(store, name, id, context.signal);
    if (manifest.type !== "postgres" || manifest.method !== "physical") return undefined;
    details = readDetails(manifest, subject);
  } catch (error) {
    // Retention removed it since it was listed.
    if (error instanceof ObjectMissing) return undefined;
    if (!(error instanceof DefectError)) throw error;
    findings.error("backup-corrupt", error.subject, error.message, NEW_BACKUP);
    return undefined;
  }
  let whole = true;
  for (const part of NEEDED) {
    if (manifest.objects.some((object) => object.name.startsWith(part))) continue;
    whole = false;
    const message = `The manifest of the backup ${id} of ${name} names no ${part}: it was altered.`;
    findings.error("backup-corrupt", subject, message, NEW_BACKUP);
  }
  for (const object of manifest.objects) {
    const key = objectKey(name, id, object.name);
    // A listing may be older than the object, so an absence is looked at again.
    const found = sizes.get(key) ?? (await store.stat(key, context.signal))?.bytes;
    if (found === object.storedBytes) continue;
    whole = false;
    const part = store.describe(key);
    if (found === undefined) {
      findings.error(
        "backup-incomplete",
        part,
        `${part} is missing: the backup ${id} cannot be recovered.`,
        NEW_BACKUP,
      );
    } else {
      const message = `${part} has ${found} bytes, but the backup recorded ${object.storedBytes}: it is damaged.`;
      findings.error("backup-corrupt", part, message, NEW_BACKUP);
    }
  }
  const storedBytes = manifest.objects.reduce((sum, object) => sum + object.storedBytes, 0);
  return { manifest, details, startLsn: lsn(details.startLsn), storedBytes, whole };
}

/** All backups must be of the one cluster that the place belongs to. */
async function inspectCluster(
  { setting, context, findings }: Subject,
  backups: readonly VerifiedBackup[],
): Promise<void> {
  const { store, name } = setting;
  const subject = store.describe(clusterKey(name));
  let owner: string | undefined;
  try {
    owner = await readClusterIdentity(store, name, context.signal);
  } catch (error) {
    if (!(error instanceof DefectError)) throw error;
    findings.error(
      "backup-corrupt",
      error.subject,
      error.message,
      "Remove the object: the next run writes it anew.",
    );
    return;
  }
  if (owner === undefined) {
    if (backups.length === 0) return;
    findings.error(
      "backup-incomplete",
      subject,
      `${subject} is missing, so nothing keeps another cluster from writing among these backups.`,
      "Run the backup action, which writes it anew, and find out what removed it.",
    );
    return;
  }
  for (const { manifest, details } of backups) {
    if (details.systemIdentifier === owner) continue;
    findings.error(
      "foreign-system",
      store.describe(manifestKey(name, manifest.id)),
      `The backup ${manifest.id} is of the cluster ${details.systemIdentifier}, but ${subject} says that ${owner} lies here.`,
      "Give the other cluster another component name or prefix, and move its objects there.",
    );
  }
}
