import { randomBytes } from "node:crypto";
import { claimCluster } from "../catalog/cluster.ts";
import { writeHeartbeat } from "../catalog/heartbeat.ts";
import { backupId } from "../catalog/layout.ts";
import type { RestorePoint } from "../catalog/wal.ts";
import type { BackupOutcome, ComponentSetting } from "../component.ts";
import type { Context } from "../context.ts";
import { formatDuration } from "../values.ts";
import type { PostgresConfig } from "./config.ts";
import { type Connection, connect } from "./source/connection.ts";
import { takeFullBackup } from "./source/full-backup.ts";
import { type Abilities, checkSource, warnOfMissingGrants } from "./source/roles.ts";
import { ensureSlot } from "./source/slot.ts";
import { type ClusterIdentity, describeArchiving, identify } from "./source/source-facts.ts";
import { parseUri } from "./source/uri.ts";
import { openArchiveFolder } from "./wal/archive-folder.ts";
import { endRun } from "./wal/end-of-run.ts";
import { startFolderPull } from "./wal/folder-pull.ts";
import type { WalArchive } from "./wal/wal-archive.ts";
import { planPull, storeTimelines } from "./wal/wal-plan.ts";
import { type Pull, type PullResult, startPull } from "./wal/wal-pull.ts";

/** Everything of a run that is known once the source has been checked. */
export interface Run {
  readonly setting: ComponentSetting<PostgresConfig>;
  readonly archive: WalArchive;
  readonly sql: Connection;
  readonly identity: ClusterIdentity;
  readonly abilities: Abilities;
  readonly pull: Pull;
  /** A connection to another database of the cluster; it is closed at the end of the run at the latest. */
  openDatabase(database: string): Promise<Connection>;
}

/**
 * Backs the cluster up: WAL through the slot or from the archive's folder, and for `full` a base backup too. Nothing is written before server,
 * role and cluster have been checked, and a full backup's manifest is written last.
 */
export async function backupPostgres(
  setting: ComponentSetting<PostgresConfig>,
  kind: "full" | "wal",
  context: Context,
): Promise<BackupOutcome> {
  const { config, name, store } = setting;
  const endpoint = parseUri(setting.fill(["connection"], config.connection), context.env);
  // Asked for before anything is written: it fails when a variable of the runbook is not set.
  const { recipients } = setting.encryption;
  const connections: Connection[] = [];
  let pull: Pull | undefined;
  async function open(mode: "sql" | "replication", database = endpoint.database): Promise<Connection> {
    const connection = await connect({ ...endpoint, database }, mode, context);
    connections.push(connection);
    return connection;
  }
  const openDatabase = (database: string) => open("sql", database);
  try {
    const sql = await open("sql");
    const abilities = await checkSource(sql);
    const walSender = await open("replication");
    const identity = await identify(walSender);
    await claimCluster(store, name, identity.systemIdentifier, context.signal);
    warnOfMissingGrants(sql, abilities, context);

    const { systemIdentifier } = identity;
    const archive = { store, component: name, recipients, systemIdentifier };
    const source = { setting, kind, sql, walSender, identity, archive };
    pull = await ("slot" in config.wal
      ? pullFromSlot(source, config.wal.slot, context)
      : pullFromFolder(source, setting.fill(["wal", "archive"], config.wal.archive), context));

    const run: Run = { setting, archive, sql, identity, abilities, pull, openDatabase };
    return kind === "full"
      ? await takeFullBackup(run, newBackupId(context), () => open("replication"), context)
      : await pullWal(run, context);
  } finally {
    // Its connection first: that ends a wait for more WAL.
    await Promise.all(connections.map((connection) => connection.close()));
    await pull?.stop();
  }
}

interface Source {
  readonly setting: ComponentSetting<PostgresConfig>;
  readonly kind: "full" | "wal";
  readonly sql: Connection;
  readonly walSender: Connection;
  readonly identity: ClusterIdentity;
  readonly archive: WalArchive;
}

async function pullFromSlot(source: Source, slotName: string, context: Context): Promise<Pull> {
  const { kind, sql, walSender, identity, archive } = source;
  const slot = await ensureSlot(sql, walSender, slotName, kind, context);
  const path = await storeTimelines(walSender, identity, archive, context);
  const plan = await planPull(archive, identity, path, slot.restartLsn, context);
  return startPull(walSender, { archive, identity, slot, plan, kind }, context);
}

async function pullFromFolder(source: Source, path: string, context: Context): Promise<Pull> {
  const { kind, sql, walSender, identity, archive } = source;
  const { systemIdentifier, walSegmentBytes } = identity;
  const folder = await openArchiveFolder({ path, systemIdentifier, segmentBytes: walSegmentBytes });
  const timelines = await storeTimelines(walSender, identity, archive, context);
  const plan = await planPull(archive, identity, timelines, identity.flushedTo, context);
  const explain = () => describeArchiving(sql);
  return startFolderPull({ archive, folder, identity, plan, kind, explain }, context);
}

function newBackupId(context: Context): string {
  return backupId(context.now(), randomBytes(3));
}

async function pullWal(run: Run, context: Context): Promise<BackupOutcome> {
  const began = performance.now();
  const options = {
    id: randomBytes(3).toString("hex"),
    segmentBytes: run.identity.walSegmentBytes,
    atLeast: 0n,
  };
  const point = await withPull(run.pull, endRun(run.sql, run.abilities, run.pull, options, context));
  const pulled = await run.pull.done;
  context.log.info(describePull(pulled, (performance.now() - began) / 1000));
  await writeBeat(run, "wal", null, pulled, point, context);
  return { manifest: undefined, bytes: pulled.bytes, recoverableUntil: recoverableUntil(point) };
}

/** Does some work while the pull runs; the pull's failure ends the wait at once. */
export async function withPull<T>(pull: Pull, work: Promise<T>): Promise<T> {
  work.catch(() => undefined);
  const failure = pull.done.then(() => work);
  return await Promise.race([work, failure]);
}

/** The last thing that a successful run writes. */
export async function writeBeat(
  run: Run,
  kind: "full" | "wal",
  id: string | null,
  pulled: PullResult,
  point: RestorePoint | undefined,
  context: Context,
): Promise<void> {
  await writeHeartbeat(
    run.setting.store,
    {
      component: run.setting.name,
      kind,
      finishedAt: context.now().toISOString(),
      backupId: id,
      lastSegment: pulled.lastSegment,
      recoverableUntil: point?.time ?? null,
    },
    context.signal,
  );
}

export function describePull(pulled: PullResult, seconds: number): string {
  return `WAL: ${pulled.segments} segments in ${formatDuration(seconds)}, archived through ${pulled.lastSegment}`;
}

/** The moment in whole milliseconds, never later than the point. */
export function recoverableUntil(point: RestorePoint | undefined): Date | undefined {
  return point === undefined ? undefined : new Date(`${point.time.slice(0, 23)}Z`);
}
