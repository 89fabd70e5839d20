/**
 * The names of all objects in a store. Pure: nothing here touches a store.
 *
 * ```
 * <component>/backups/<backup id>/manifest.json
 *                                /base.tar.zst[.age], <tablespace oid>.tar.zst[.age], backup_manifest,
 *                                 census.json.zst[.age]
 * <component>/wal/<8 hex timeline>/<segment>.zst[.age], <segment>.json, <8 hex timeline>.history,
 *                                  <segment>.<8 hex bytes>.partial.zst[.age], <segment>.<8 hex bytes>.partial.json
 * <component>/cluster.json
 * <component>/heartbeat.json
 * <component>/verified/<backup id>.json
 * <component>/lease/<12 digits>.json
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

/** Every object of one segment, whole or partial, starts with this. */
export function segmentPrefix(component: string, segment: string): string {
  return walKey(component, segment, ".");
}

/** The first `bytes` of a segment that was not complete yet, packed. The length is part of the name: content never changes. */
export function partialKey(component: string, segment: string, bytes: number, sealed: boolean): string {
  return walKey(component, segment, partialSuffix(bytes, sealed ? "zst.age" : "zst"));
}

/** What is known of the partial; created before it. */
export function partialSidecarKey(component: string, segment: string, bytes: number): string {
  return walKey(component, segment, partialSuffix(bytes, "json"));
}

function partialSuffix(bytes: number, end: string): string {
  return `.${bytes.toString(16).toUpperCase().padStart(8, "0")}.partial.${end}`;
}

/** The history file of a timeline, as the server sent it. */
export function historyKey(component: string, timeline: number): string {
  return walKey(component, timelineName(timeline), ".history");
}

export type WalKey =
  | { readonly kind: "segment"; readonly segment: string; readonly sealed: boolean }
  | { readonly kind: "sidecar"; readonly segment: string }
  | { readonly kind: "partial"; readonly segment: string; readonly bytes: number; readonly sealed: boolean }
  | { readonly kind: "partial-sidecar"; readonly segment: string; readonly bytes: number }
  | { readonly kind: "history"; readonly timeline: number };

const WAL_FILE =
  /^([0-9A-F]{8})\/(?:([0-9A-F]{24})(?:\.([0-9A-F]{8})\.partial)?\.(zst|zst\.age|json)|([0-9A-F]{8})\.history)$/;

/** What a key below {@link walPrefix} is; undefined for anything that does not follow the names above exactly. */
export function parseWalKey(component: string, key: string): WalKey | undefined {
  const prefix = walPrefix(component);
  if (!key.startsWith(prefix)) return undefined;
  const match = WAL_FILE.exec(key.slice(prefix.length));
  const [, folder, segment, length, suffix, history] = match ?? [];
  if (folder === undefined) return undefined;
  if (history !== undefined) {
    return history === folder ? { kind: "history", timeline: Number.parseInt(history, 16) } : undefined;
  }
  if (segment === undefined || segment.slice(0, 8) !== folder) return undefined;
  const sealed = suffix === "zst.age";
  if (length === undefined) {
    return suffix === "json" ? { kind: "sidecar", segment } : { kind: "segment", segment, sealed };
  }
  const bytes = Number.parseInt(length, 16);
  return suffix === "json"
    ? { kind: "partial-sidecar", segment, bytes }
    : { kind: "partial", segment, bytes, sealed };
}

/** The system identifier of the one cluster whose backups and WAL this component holds. */
export function clusterKey(component: string): string {
  return `${component}/cluster.json`;
}

/** When a run last succeeded. */
export function heartbeatKey(component: string): string {
  return `${component}/heartbeat.json`;
}

/** All of a component's lease objects start with this. */
export function leasePrefix(component: string): string {
  return `${component}/lease/`;
}

/** Numbers have twelve digits, so that the newest is the last of a listing. */
export function leaseKey(component: string, number: number): string {
  return `${leasePrefix(component)}${String(number).padStart(12, "0")}.json`;
}

/** The number of a lease object's key; undefined when the key is another object's. */
export function leaseNumber(component: string, key: string): number | undefined {
  const prefix = leasePrefix(component);
  const match = key.startsWith(prefix) ? /^(\d{12})\.json$/.exec(key.slice(prefix.length)) : null;
  return match === null ? undefined : Number(match[1]);
}

/** All notes that a backup of the component was verified start with this. */
export function verificationsPrefix(component: string): string {
  return `${component}/verified/`;
}

/** The note that a backup was verified. */
export function verificationKey(component: string, id: string): string {
  return `${verificationsPrefix(component)}${id}.json`;
}

/** The backup id of a key of {@link verificationKey}; undefined when the key is another object's. */
export function verificationId(component: string, key: string): string | undefined {
  const prefix = verificationsPrefix(component);
  if (!key.startsWith(prefix) || !key.endsWith(".json")) return undefined;
  const id = key.slice(prefix.length, -".json".length);
  return isBackupId(id) ? id : undefined;
}

/** All drill records of a store start with this. */
export function drillsPrefix(): string {
  return "drills/";
}

export function drillKey(id: string): string {
  return `${drillsPrefix()}${id}.json`;
}

/** The id of a drill record's key, which has the form of a backup's; undefined when the key is another object's. */
export function drillId(key: string): string | undefined {
  if (!key.startsWith(drillsPrefix()) || !key.endsWith(".json")) return undefined;
  const id = key.slice(drillsPrefix().length, -".json".length);
  return isBackupId(id) ? id : undefined;
}
