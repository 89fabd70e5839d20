import { randomBytes } from "node:crypto";
import { claimCluster } from "../catalog/cluster.ts";
import { glanceAtHeartbeat, writeHeartbeat } from "../catalog/heartbeat.ts";
import type { HeldLease } from "../catalog/held-lease.ts";
import { backupId } from "../catalog/layout.ts";
import { takeLease, waitForLease } from "../catalog/lease.ts";
import { lsn, segmentAt, segmentStart } from "../catalog/lsn.ts";
import { removeOrphans } from "../catalog/orphans.ts";
import type { RestorePoint } from "../catalog/wal.ts";
import type { BackupOptions, BackupOutcome, ComponentSetting } from "../component.ts";
import type { Context } from "../context.ts";
import { UserError } from "../errors.ts";
import type { Store } from "../stores/store.ts";
import { formatDuration } from "../values.ts";
import type { PostgresConfig } from "./config.ts";
import { leaseRequest, leaveToOther } from "./lease.ts";
import { openMarker } from "./marker/write-marker.ts";
import { type Connection, connect } from "./source/connection.ts";
import { takeFullBackup } from "./source/full-backup.ts";
import { checkSource, type SourceRole } from "./source/roles.ts";
import { type ClusterIdentity, identify, need } from "./source/source-facts.ts";
import { type Standby, waitForStandby } from "./source/standby.ts";
import { type Endpoint, parseUri } from "./source/uri.ts";
import {
  checkPrimary,
  requireTimeline,
  type Writer,
  warnOfMissingGrants,
  warnOfMissingPrimary,
  warnOfUnusedPrimary,
} from "./source/writer.ts";
import { endRun } from "./wal/end-of-run.ts";
import { pullFromFolder, pullFromSlot } from "./wal/pulling.ts";
import { type Mark, streamWal } from "./wal/streaming.ts";
import type { WalArchive } from "./wal/wal-archive.ts";
import type { Marked, Pull, PullResult } from "./wal/wal-pull.ts";

/** Everything of a run that is known once the source has been checked. */
export interface Run {
  /** Its store is the lease's. */
  readonly setting: ComponentSetting<PostgresConfig>;
  readonly lease: HeldLease;
  /** As it is without the lease: only for taking back what this run wrote. */
  readonly bareStore: Store;
  readonly archive: WalArchive;
  readonly sql: Connection;
  readonly identity: ClusterIdentity;
  /** Where the run's end is marked: the source, or its primary. */
  readonly writer: Writer;
  /** The source, when it is a standby. */
  readonly standby: Standby | undefined;
  readonly pull: Pull;
  /** A connection to another database of the cluster; it is closed at the end of the run at the latest. */
  openDatabase(database: string): Promise<Connection>;
}

/**
 * Backs the cluster up: WAL through the slot or from the archive's folder, and for `full` a base backup too. One run at a
 * time writes into a component's place; another one is waited for, and a short run with `wal` leaves its work to it. Nothing
 * is written before server, role and cluster have been checked, and a full backup's manifest is written last.
 */
export async function backupPostgres(
  setting: ComponentSetting<PostgresConfig>,
  kind: "full" | "wal",
  context: Context,
  options: BackupOptions = {},
): Promise<BackupOutcome> {
  const { config, name, store } = setting;
  const endpoint = parseUri(setting.fill(["connection"], config.connection), context.env);
  // Asked for before anything is written: it fails when a variable of the runbook is not set.
  const { recipients } = setting.encryption;
  const request = leaseRequest(setting, kind, options);
  const began = performance.now();
  // Before any connection: a server ends one on which nothing is said for long.
  const other = await waitForLease(request, context);
  if (other !== undefined) return leaveToOther(other, request, context);
  const connections: Connection[] = [];
  let pull: Pull | undefined;
  let lease: HeldLease | undefined;
  async function open(mode: "sql" | "replication", database = endpoint.database): Promise<Connection> {
    const connection = await connect({ ...endpoint, database }, mode, context);
    connections.push(connection);
    return connection;
  }
  const openDatabase = (database: string) => open("sql", database);
  try {
    const sql = await open("sql");
    const role = await checkSource(sql);
    const walSender = await open("replication");
    const found = await identify(walSender);
    const opened = await openWriter({ setting, sql, role, identity: found }, connections, context);
    const { standby } = opened;
    await claimCluster(store, name, found.systemIdentifier, context.signal);
    const taken = await takeLease(request, context);
    if ("who" in taken) return leaveToOther(taken, request, context);
    lease = taken;
    await removeOrphans(lease, name, context);
    const writer = await withMarker(opened.writer, setting, sql);
    if (standby?.primaryKnown) await catchUp(standby, writer, context);
    // Again: while this run waited for the lease, another has archived WAL that the server had not written before.
    const identity = await identify(walSender);

    const { systemIdentifier } = identity;
    const fenced = { ...setting, store: lease.store };
    const archive = { store: lease.store, component: name, recipients, systemIdentifier };
    const source = { setting: fenced, kind, sql, walSender, identity, writer, standby, archive };
    const pulling = await ("slot" in config.wal
      ? pullFromSlot(source, config.wal.slot, context)
      : pullFromFolder(source, setting.fill(["wal", "archive"], config.wal.archive), context));
    pull = pulling.pull;

    const run: Run = {
      setting: fenced,
      lease,
      bareStore: store,
      archive,
      sql,
      identity,
      writer,
      standby,
      pull,
      openDatabase,
    };
    // Whole seconds: only a wait for another run counts.
    const waited = Math.floor((performance.now() - began) / 1000);
    const outcome =
      kind === "full"
        ? await takeFullBackup(run, newBackupId(context), () => open("replication"), context)
        : await pullWal(run, Math.max(0, (options.streamSeconds ?? 0) - waited), context);
    return { ...outcome, slot: pulling.slot, notes: pulling.notes ?? [] };
  } finally {
    // Its connection first: that ends a wait for more WAL.
    await Promise.all(connections.map((connection) => connection.close()));
    await pull?.stop();
    await lease?.release();
  }
}

interface Checked {
  readonly setting: ComponentSetting<PostgresConfig>;
  readonly sql: Connection;
  readonly role: SourceRole;
  readonly identity: ClusterIdentity;
}

/** Where WAL is written: at the source itself, or at the primary that it follows. Warns of what will not be possible. */
async function openWriter(
  { setting, sql, role, identity }: Checked,
  connections: Connection[],
  context: Context,
): Promise<{ writer: Writer; standby: Standby | undefined }> {
  const { primary } = setting.config;
  const { label } = sql.endpoint;
  const itself: Writer = { sql, abilities: role.abilities };
  if (!role.standby) {
    warnOfMissingGrants(itself, context);
    if (primary !== undefined) warnOfUnusedPrimary(sql, context);
    return { writer: itself, standby: undefined };
  }
  const standby = { sql, primaryKnown: primary !== undefined, segmentBytes: identity.walSegmentBytes };
  if (primary === undefined) {
    warnOfMissingPrimary(sql, context);
    return { writer: itself, standby };
  }
  const connection = await connect(readPrimary(setting, primary, context), "sql", context);
  connections.push(connection);
  const writer = await checkPrimary(connection, identity, label);
  warnOfMissingGrants(writer, context);
  return { writer, standby };
}

function readPrimary(setting: ComponentSetting<PostgresConfig>, written: string, context: Context): Endpoint {
  try {
    return parseUri(setting.fill(["primary"], written), context.env);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(`The key primary of "${setting.name}" is of no use. ${error.message}`, {
      cause: error,
    });
  }
}

/** A standby that does not follow its primary is found out before a base backup is taken, not after it. */
async function catchUp(standby: Standby, { sql }: Writer, context: Context): Promise<void> {
  const [row] = await sql.query("reading its position", "SELECT pg_current_wal_flush_lsn() AS lsn");
  const { segmentBytes } = standby;
  // Its last whole segment: a standby that is fed from an archive gets nothing nearer.
  const position = segmentStart(segmentAt(lsn(need(row, "lsn")), segmentBytes), segmentBytes);
  await waitForStandby(standby, position, "received", context);
}

/** The marker is looked for only when nothing else can be refused any more: it may have to be made. */
async function withMarker(
  writer: Writer,
  { config }: ComponentSetting<PostgresConfig>,
  sql: Connection,
): Promise<Writer> {
  if (!config.marker || !writer.abilities.createRestorePoint) return writer;
  const { database } = sql.endpoint;
  if (writer.sql.endpoint.database !== database) {
    throw new UserError(
      `marker: true needs connection and primary to name one database, but they name "${database}" and "${writer.sql.endpoint.database}".`,
    );
  }
  return { ...writer, writeMarker: await openMarker(writer.sql) };
}

function newBackupId(context: Context): string {
  return backupId(context.now(), randomBytes(3));
}

async function pullWal(run: Run, streamSeconds: number, context: Context): Promise<BackupOutcome> {
  const last = streamSeconds > 0 ? await stream(run, streamSeconds, context) : undefined;
  const began = performance.now();
  const point = await withPull(run.pull, markEnd(run, randomBytes(3).toString("hex"), 0n, context));
  const pulled = await run.pull.done;
  context.log.info(describePull(pulled, (performance.now() - began) / 1000));
  // A role that may not switch WAL ends the run in the last point that it made while it streamed.
  const newest = point ?? last?.point;
  const partial = last?.partial ?? null;
  const beyond = partial !== null && partial.segment > pulled.lastSegment ? partial : null;
  await writeBeat(run, "wal", null, { ...pulled, partial: beyond }, newest, context);
  return { manifest: undefined, bytes: pulled.bytes, recoverableUntil: recoverableUntil(newest) };
}

async function stream(run: Run, seconds: number, context: Context): Promise<Mark | undefined> {
  const { setting, writer, pull } = run;
  const options = {
    component: setting.name,
    ...{ writer, pull, seconds },
    freshSeconds: setting.config.freshness.wal,
    onMark: (mark: Mark) => writeBeat(run, "wal", null, mark, mark.point, context),
  };
  return await withPull(pull, streamWal(options, context));
}

/** Ends the run's WAL, where WAL is written; see {@link endRun}. */
export async function markEnd(
  { writer, sql, identity, pull }: Run,
  id: string,
  atLeast: bigint,
  context: Context,
): Promise<RestorePoint | undefined> {
  const options = { id, segmentBytes: identity.walSegmentBytes, atLeast };
  const point = await endRun(writer, pull, options, context);
  if (writer.sql !== sql) await requireTimeline(writer.sql, identity, sql.endpoint.label);
  return point;
}

/** Does some work while the pull runs; the pull's failure ends the wait at once. */
export async function withPull<T>(pull: Pull, work: Promise<T>): Promise<T> {
  work.catch(() => undefined);
  const failure = pull.done.then(() => work);
  return await Promise.race([work, failure]);
}

/** What a run writes last, and at each point while it streams. */
export async function writeBeat(
  run: Run,
  kind: "full" | "wal",
  id: string | null,
  pulled: Pick<Marked, "lastSegment"> & Partial<Pick<Marked, "partial">>,
  point: RestorePoint | undefined,
  context: Context,
): Promise<void> {
  const { store, name } = run.setting;
  const last = id === null ? await glanceAtHeartbeat(store, name, context.signal) : undefined;
  await writeHeartbeat(
    store,
    {
      component: name,
      kind,
      finishedAt: context.now().toISOString(),
      backupId: id,
      newestBackup: id ?? last?.newestBackup ?? last?.backupId ?? null,
      lastSegment: pulled.lastSegment,
      partial: pulled.partial ?? null,
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
