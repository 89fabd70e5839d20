/**
 * The names of all objects in a store. Pure: nothing here touches a store.
 *
 * ```
 * <component>/backups/<backup id>/manifest.json
 *                                /base.tar.zst[.age], <tablespace oid>.tar.zst[.age], backup_manifest,
 *                                 census.json.zst[.age]
 * <component>/wal/<8 hex timeline>/<segment>.zst[.age], <segment>.json, <8 hex timeline>.history
 * <component>/cluster.json
 * <component>/heartbeat.json
 * drills/<drill id>.json
 * ```
 */

const BACKUP_ID = /^\d{8}T\d{6}Z-[0-9a-f]{6}$/;
const MANIFEST = "manifest.json";

/** A backup's id: `20260125T120000Z-<6 hex>`. Ids sort by time. */
export function backupId(startedAt: Date, random: Uint8Array): string {
  const time = startedAt.toISOString().replace(/[-:]|\.\d+/g, "");
  return `${time}-${Buffer.from(random).toString("hex").slice(0, 6)}`;
}

export function isBackupId(text: string): boolean {
  return BACKUP_ID.test(text);
}

/** All objects of all backups of a component start with this. */
export function backupsPrefix(component: string): string {
  return `${component}/backups/`;
}

/** All objects of one backup start with this. */
export function backupPrefix(component: string, id: string): string {
  return `${backupsPrefix(component)}${id}/`;
}

/** An object of a backup; `name` is {@link BackupObject.name}. */
export function objectKey(component: string, id: string, name: string): string {
  return `${backupPrefix(component, id)}${name}`;
}

export function manifestKey(component: string, id: string): string {
  return objectKey(component, id, MANIFEST);
}

/** The backup id of a manifest's key; undefined when the key is another object's. */
export function manifestId(component: string, key: string): string | undefined {
  const prefix = backupsPrefix(component);
  if (!key.startsWith(prefix)) return undefined;
  const [id, name, ...rest] = key.slice(prefix.length).split("/");
  if (id === undefined || name !== MANIFEST || rest.length > 0) return undefined;
  return isBackupId(id) ? id : undefined;
}

const PART = /^(?:[\w-]+(?:\.[\w-]+)*\.(?:zst|age)|backup_manifest)$/;

/** The backup id of a key below {@link backupsPrefix} that is named like a part of a backup, whole or not. */
export function partOf(component: string, key: string): string | undefined {
  const prefix = backupsPrefix(component);
  if (!key.startsWith(prefix)) return undefined;
  const [id = "", name = "", ...rest] = key.slice(prefix.length).split("/");
  return isBackupId(id) && PART.test(name) && rest.length === 0 ? id : undefined;
}

/** All WAL of a component starts with this. */
export function walPrefix(component: string): string {
  return `${component}/wal/`;
}

/** `00000001`: a timeline as PostgreSQL spells it in file names. */
export function timelineName(timeline: number): string {
  return timeline.toString(16).toUpperCase().padStart(8, "0");
}

function walKey(component: string, segment: string, suffix: string): string {
  return `${walPrefix(component)}${segment.slice(0, 8)}/${segment}${suffix}`;
}

/** The packed segment. `segment` is its 24 hex digits. */
export function segmentKey(component: string, segment: string, sealed: boolean): string {
  return walKey(component, segment, sealed ? ".zst.age" : ".zst");
}

/** What is known of the segment: its digest, its cluster, the restore point in it. Created before the segment. */
export function sidecarKey(component: string, segment: string): string {
  return walKey(component, segment, ".json");
}

/** The history file of a timeline, as the server sent it. */
export function historyKey(component: string, timeline: number): string {
  return walKey(component, timelineName(timeline), ".history");
}

export type WalKey =
  | { readonly kind: "segment"; readonly segment: string; readonly sealed: boolean }
  | { readonly kind: "sidecar"; readonly segment: string }
  | { readonly kind: "history"; readonly timeline: number };

const WAL_FILE = /^([0-9A-F]{8})\/(?:([0-9A-F]{24})\.(zst|zst\.age|json)|([0-9A-F]{8})\.history)$/;

/** What a key below {@link walPrefix} is; undefined for anything that does not follow the names above exactly. */
export function parseWalKey(component: string, key: string): WalKey | undefined {
  const prefix = walPrefix(component);
  if (!key.startsWith(prefix)) return undefined;
  const match = WAL_FILE.exec(key.slice(prefix.length));
  const [, folder, segment, suffix, history] = match ?? [];
  if (folder === undefined) return undefined;
  if (history !== undefined) {
    return history === folder ? { kind: "history", timeline: Number.parseInt(history, 16) } : undefined;
  }
  if (segment === undefined || segment.slice(0, 8) !== folder) return undefined;
  if (suffix === "json") return { kind: "sidecar", segment };
  return { kind: "segment", segment, sealed: suffix === "zst.age" };
}

/** The system identifier of the one cluster whose backups and WAL this component holds. */
export function clusterKey(component: string): string {
  return `${component}/cluster.json`;
}

/** When a run last succeeded. */
export function heartbeatKey(component: string): string {
  return `${component}/heartbeat.json`;
}

export function drillKey(id: string): string {
  return `drills/${id}.json`;
}
