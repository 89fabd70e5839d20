import { listBackups } from "../../src/catalog/backups.ts";
import { type Heartbeat, readHeartbeat } from "../../src/catalog/heartbeat.ts";
import { manifestKey, objectKey } from "../../src/catalog/layout.ts";
import { lsn, segmentAt } from "../../src/catalog/lsn.ts";
import type { BackupManifest, BackupObject } from "../../src/catalog/manifest.ts";
import { chainFrom, listSegments, type WalInventory, type WalSegment } from "../../src/catalog/wal.ts";
import type { ComponentSetting } from "../../src/component.ts";
import type { ComponentConfig } from "../../src/components.ts";
import { UserError } from "../../src/errors.ts";
import { type PostgresDetails, readDetails } from "../../src/postgres/details.ts";
import type { Store } from "../../src/stores/store.ts";

/** A backup of the store that is broken. */
export interface KnownBackup {
  readonly manifest: BackupManifest;
  readonly details: PostgresDetails;
  /** The key of one of its objects. */
  key(object: BackupObject): string;
  readonly manifestKey: string;
  readonly base: BackupObject;
  readonly tablespace: BackupObject | undefined;
  readonly census: BackupObject | undefined;
  readonly serverManifest: BackupObject | undefined;
}

/** What a healthy store holds, read once: every breakage chooses what it breaks from here. */
export interface Facts {
  readonly component: string;
  readonly service: string;
  /** Components of the same store. */
  readonly others: readonly string[];
  readonly newest: KnownBackup;
  /** The one before the newest; undefined when there is one alone. */
  readonly older: KnownBackup | undefined;
  readonly inventory: WalInventory;
  /** Whole segments that the newest backup needs to get to the newest point, in order. */
  readonly chain: readonly WalSegment[];
  /** Whole segments between the older backup and the newest, in order. */
  readonly between: readonly WalSegment[];
  /** At the end of the chain, when the newest WAL was streamed. */
  readonly partial: (WalSegment & { readonly partial: { readonly bytes: number } }) | undefined;
  /** A timeline that grew out of another, which the newest point lies on. */
  readonly grown: number | undefined;
  readonly heartbeat: Heartbeat | undefined;
  readonly recipients: readonly string[];
  readonly identity: string | undefined;
  /** What the runbook says of the component. */
  readonly config: ComponentConfig;
  /** How many backups there are. */
  readonly backups: number;
  /** How often the component must be drilled; undefined when no scenario says so. */
  readonly drilledEverySeconds: number | undefined;
}

/** What the runbook says of the component, besides its setting. */
export interface Surroundings {
  readonly others: readonly string[];
  readonly drilledEverySeconds: number | undefined;
}

/** Throws a UserError when there is no backup to break. */
export async function readFacts(
  setting: ComponentSetting<ComponentConfig>,
  { others, drilledEverySeconds }: Surroundings,
  signal: AbortSignal,
): Promise<Facts> {
  const { store, name } = setting;
  const backups = (await listBackups(store, name, signal)).map((manifest) => known(store, name, manifest));
  const newest = backups.at(-1);
  const older = backups.at(-2);
  if (newest === undefined)
    throw new UserError(`${name} has no backup that could be broken: take one first.`);
  const { walSegmentBytes: segmentBytes, startLsn, timeline } = newest.details;
  const inventory = await listSegments(store, name, segmentBytes, signal);
  const target = Math.max(timeline, ...inventory.histories.keys());
  const chain = chainFrom(inventory, lsn(startLsn), timeline, target);
  const last = chain.at(-1);
  const first = segmentAt(lsn(startLsn), segmentBytes);
  return {
    component: name,
    service: setting.service,
    others,
    newest,
    older,
    inventory,
    chain: chain.filter(({ partial }) => partial === undefined),
    between:
      older === undefined ? [] : behind(inventory, older, target).filter(({ number }) => number < first),
    partial: last?.partial === undefined ? undefined : { ...last, partial: last.partial },
    grown: inventory.histories.has(target) ? target : undefined,
    heartbeat: await readHeartbeat(store, name, signal),
    recipients: setting.encryption.recipients,
    identity: setting.encryption.identity(),
    config: setting.config,
    backups: backups.length,
    drilledEverySeconds,
  };
}

function behind(inventory: WalInventory, { details }: KnownBackup, target: number): WalSegment[] {
  return chainFrom(inventory, lsn(details.startLsn), details.timeline, target);
}

function known(store: Store, component: string, manifest: BackupManifest): KnownBackup {
  const subject = store.describe(manifestKey(component, manifest.id));
  const named = (pattern: RegExp) => manifest.objects.find((object) => pattern.test(object.name));
  const base = named(/^base\.tar/);
  if (base === undefined)
    throw new UserError(`${subject} names no base archive: it cannot be broken further.`);
  return {
    manifest,
    details: readDetails(manifest, subject),
    key: (object) => objectKey(component, manifest.id, object.name),
    manifestKey: manifestKey(component, manifest.id),
    base,
    tablespace: named(/^\d+\.tar/),
    census: named(/^census\.json/),
    serverManifest: named(/^backup_manifest/),
  };
}

export async function keysBelow(store: Store, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const object of store.list(prefix)) keys.push(object.key);
  return keys;
}

export function middleOf<T>(list: readonly T[]): T | undefined {
  return list[Math.floor(list.length / 2)];
}
