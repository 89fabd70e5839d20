import type { LeaseTiming } from "./catalog/lease.ts";
import type { BackupManifest } from "./catalog/manifest.ts";
import type { Context } from "./context.ts";
import type { Finding } from "./finding.ts";
import type { CheckResult, Phase, RecoveryPoint } from "./record.ts";
import type { Store } from "./stores/store.ts";
import type { Target } from "./targets.ts";

/** A component of the runbook with everything it needs to work: nothing below `drill/` reads the runbook itself. */
export interface ComponentSetting<Config> {
  readonly service: string;
  /** The component's name; its objects in the store start with `<name>/`. */
  readonly name: string;
  readonly config: Config;
  readonly store: Store;
  readonly encryption: Encryption;
  /**
   * Fills `${NAME}` in a value of this component's config. `path` is where it stands below the component, such as
   * `["connection"]`. Throws a UserError that names the variable and the line when it is not set.
   */
  fill(path: readonly (string | number)[], value: string): string;
}

/** How a store's objects are sealed. No recipients: not at all. */
export interface Encryption {
  /** age recipients (`age1…`). */
  readonly recipients: readonly string[];
  /** The age identity (`AGE-SECRET-KEY-1…`), filled and masked when it is asked for; undefined when none is configured. */
  identity(): string | undefined;
}

export interface BackupOutcome {
  /** The new backup; undefined for `kind: wal`. */
  readonly manifest: BackupManifest | undefined;
  /** Bytes written to the store. */
  readonly bytes: number;
  /** The newest moment that `latest` reaches now; undefined when the archive ends in no named point. */
  readonly recoverableUntil: Date | undefined;
  /** The replication slot as the run found it, before it read what the slot kept; undefined without a slot. */
  readonly slot?: SlotReport | undefined;
  /** What the report says besides. */
  readonly notes?: readonly Note[];
}

/** A sentence of a run for people. `notice`: nothing is wrong. */
export interface Note {
  readonly severity: "error" | "warning" | "notice";
  readonly text: string;
}

/** What a server keeps for us until we have read it. */
export interface SlotReport {
  readonly name: string;
  /** PostgreSQL's word: `reserved`, `extended`, `unreserved`, `lost`; null when nothing is kept. */
  readonly walStatus: string | null;
  readonly restartLsn: string | null;
  /** Bytes of WAL between there and the server's position. */
  readonly retainedBytes: number | null;
  /** So many bytes can still be written before the slot may be lost; null when nothing limits it. */
  readonly safeBytes: number | null;
  /** `max_slot_wal_keep_size` in bytes; null when it is unlimited. */
  readonly maxKeepBytes: number | null;
}

export interface BackupOptions {
  /** With `kind: wal`: goes on archiving for so long before the run ends; 0 unless given. */
  readonly streamSeconds?: number;
  /** How long another run that writes into the same place is waited for; 10 minutes unless given. */
  readonly waitSeconds?: number | undefined;
  /** How the lease is kept; for tests. */
  readonly leaseTiming?: LeaseTiming;
}

/** How deep a verification looks: at names, sizes and documents; at every byte; or at what comes back. */
export type VerifyDepth = "inventory" | "checksums" | "restore";

export interface VerifyRequest {
  readonly depth: VerifyDepth;
  readonly now: Date;
  /** The RPO that the component must keep, in seconds; null when no environment has one. */
  readonly rpoSeconds: number | null;
  /** With `checksums`: only this share of the objects, a different one each day; undefined: all of them. */
  readonly share: { readonly part: number; readonly of: number } | undefined;
}

/** What is known of a component's backups now. Times are RFC 3339 in UTC. */
export interface Verification {
  readonly findings: readonly Finding[];
  /** From the oldest backup that leads there to the newest point; null when nothing can be recovered to a moment. */
  readonly window: { readonly from: string; readonly to: string } | null;
  /** The data that would be lost now; null when it is not known. */
  readonly rpoSeconds: number | null;
  readonly backups: number;
  readonly newestBackup: string | null;
  /** When a run last succeeded; null when none did. */
  readonly heartbeat: string | null;
  /** Objects and bytes in the store, and how many of them were read to their end and compared. */
  readonly held: { readonly objects: number; readonly bytes: number };
  readonly read: { readonly objects: number; readonly bytes: number };
  /** Ids of backups that are proven to be sound now, by all their bytes or by a recovery. */
  readonly verified: readonly string[];
  /** What was not looked at and why, a sentence each; nothing is wrong with that. */
  readonly unchecked: readonly string[];
}

export interface PruneOptions {
  /** Deletes nothing, and tells what would be deleted; false unless given. */
  readonly dryRun?: boolean;
  /** As in {@link BackupOptions}. */
  readonly waitSeconds?: number | undefined;
  readonly leaseTiming?: LeaseTiming;
}

export interface PruneOutcome {
  /** Ids of the deleted backups. */
  readonly backups: readonly string[];
  /** What the report says of backups that stay although they are old. */
  readonly notes: readonly Note[];
}

export interface RecoveryRequest {
  readonly target: Target;
  /** A backup id; undefined: the newest that can reach the target. */
  readonly backupId: string | undefined;
  /** What `-15m` counts back from. */
  readonly now: Date;
}

/** Something recovered that runs and can be checked. */
export interface Recovered {
  readonly backupId: string;
  /** The target in the words of PostgreSQL or of the component, for the record. */
  readonly target: string;
  readonly reached: RecoveryPoint;
  readonly phases: readonly Phase[];
  /** `url`, `host`, `port`, …: handed to `run` steps as `DRILLBOOK_<COMPONENT>_URL` and so on. */
  readonly access: Readonly<Record<string, string>>;
  /** Facts for the record, such as `{ postgres: "17.5" }`. */
  readonly facts: Readonly<Record<string, string>>;
  /** Runs the checks of the component's config, in order. A check that could not run is `unverified`. */
  check(): Promise<CheckResult[]>;
  /**
   * Whether all that came back is whole, whatever the config's checks look at; absent when nothing looks. It may read
   * everything, so its time is no part of the recovery.
   */
  readonly inspect?: (() => Promise<CheckResult[]>) | undefined;
  /** Stops what runs and removes its files, unless `keep`. Safe to call twice. */
  dispose(options?: { readonly keep?: boolean }): Promise<void>;
}

/** A kind of component: adding one is a folder and a line in `components.ts`. */
export interface Component<Config> {
  backup(
    setting: ComponentSetting<Config>,
    kind: "full" | "wal",
    context: Context,
    options?: BackupOptions,
  ): Promise<BackupOutcome>;
  /**
   * Deletes what the config's `retention` no longer asks for and says in the log what and why, also of what stays although
   * it is old. Does nothing without a `retention`; never deletes before the newest backup is seen to be whole, nor a backup
   * of which no newer one has been proven.
   */
  prune(setting: ComponentSetting<Config>, context: Context, options?: PruneOptions): Promise<PruneOutcome>;
  /** Looks whether what lies in the store can be trusted. What is wrong is a finding; throws only when it was stopped. */
  verify(setting: ComponentSetting<Config>, request: VerifyRequest, context: Context): Promise<Verification>;
  /** Recovers into a scratch place. When it throws, nothing it started is left. */
  recover(setting: ComponentSetting<Config>, request: RecoveryRequest, context: Context): Promise<Recovered>;
}
