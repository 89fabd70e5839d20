import { encodeDocument } from "../../catalog/documents.ts";
import { backupPrefix, manifestKey } from "../../catalog/layout.ts";
import { lsn, segmentBefore } from "../../catalog/lsn.ts";
import type { BackupManifest } from "../../catalog/manifest.ts";
import { withUnlisted } from "../../catalog/unlisted.ts";
import {
  chainFrom,
  listSegments,
  missingAfter,
  type RestorePoint,
  wholeSegments,
} from "../../catalog/wal.ts";
import type { BackupOutcome } from "../../component.ts";
import type { Context } from "../../context.ts";
import { ToolError } from "../../errors.ts";
import { describePull, markEnd, type Run, recoverableUntil, withPull, writeBeat } from "../backup.ts";
import { type CensusSource, extendSteadiness, lookAtObjects, takeCensus } from "../census/capture.ts";
import { writeCensus } from "../census/store.ts";
import { endOfNeededWal, type PostgresDetails } from "../details.ts";
import { type BaseBackup, type BaseBackupTarget, takeBaseBackup } from "./base-backup.ts";
import type { Connection } from "./connection.ts";
import { readSourceFacts, type SourceMoment, serverTime, sourceMoment } from "./source-facts.ts";
import { readRestartPoint, type Standby, standbyTime, waitForStandby } from "./standby.ts";

/** How long the replay of a standby may stand still at the end of a run. */
const REPLAY_MS = 30_000;
/** How long the clean-up after a failure may take; a run that was stopped must end soon. */
const CLEAN_UP_MS = 3_000;

/** Takes a base backup while WAL is pulled; when anything fails, what it wrote under its own id is deleted. */
export async function takeFullBackup(
  run: Run,
  id: string,
  openReplication: () => Promise<Connection>,
  context: Context,
): Promise<BackupOutcome> {
  try {
    return await takeAndList(run, id, openReplication, context);
  } catch (error) {
    await removeUnlisted(run, id, context);
    throw error;
  }
}

async function takeAndList(
  run: Run,
  id: string,
  openReplication: () => Promise<Connection>,
  context: Context,
): Promise<BackupOutcome> {
  const { setting, archive, sql, identity, writer, standby, pull } = run;
  const { name, store } = setting;
  const startedAt = context.now();
  const facts = await readSourceFacts(sql);
  // The base backup of a standby begins at its last restart point, however far it has replayed since.
  const startTime = standby === undefined ? await serverTime(sql) : (await readRestartPoint(sql)).time;
  const source = censusSource(run, id, facts.major, context);
  const look = source && (await lookAtObjects(source, "after"));
  const target = { store, component: name, backupId: id, recipients: archive.recipients };
  const base = await takeBase(run, await openReplication(), target, facts.major, context);
  // Read after the end, so no commit of the backup's own window is later than this.
  const stop: Partial<SourceMoment> & { readonly time: string } =
    standby !== undefined && !standby.primaryKnown
      ? { time: await standbyTime(sql) }
      : await sourceMoment(writer.sql);

  const census = source && look && (await withPull(pull, takeCensus(source, look)));
  const began = performance.now();
  const needed = endOfNeededWal({ stopLsn: base.stopLsn, fromStandby: standby !== undefined });
  const point = await withPull(pull, markEnd(run, id.slice(-6), needed, context));
  const pulled = await pull.done;
  context.log.info(describePull(pulled, (performance.now() - began) / 1000));
  await assertWalComplete(run, base, point === undefined ? needed : lsn(point.lsn), context);
  const objects = [...base.objects];
  if (source !== undefined && census !== undefined) {
    if (standby !== undefined && point !== undefined) await replayPoint(standby, point, context);
    const whole = extendSteadiness(census, await lookAtObjects(source, "before"));
    objects.push(await writeCensus(setting, whole, context.signal));
  }

  const details: PostgresDetails = {
    ...facts,
    systemIdentifier: identity.systemIdentifier,
    timeline: base.timeline,
    startLsn: base.startLsn,
    stopLsn: base.stopLsn,
    fromStandby: standby !== undefined,
    startTime,
    stopTime: stop.time,
    stopSnapshot: stop.snapshot,
    walSegmentBytes: identity.walSegmentBytes,
    dataBytes: base.dataBytes,
    tablespaces: [...base.tablespaces],
    restorePoint: point ?? null,
    newChain: pulled.newChain,
  };
  const manifest: BackupManifest = {
    schema: "drillbook/backup-manifest/v1",
    id,
    service: setting.service,
    component: name,
    type: "postgres",
    method: "physical",
    startedAt: startedAt.toISOString(),
    finishedAt: context.now().toISOString(),
    objects,
    details,
  };
  await assertObjectsStored(run, manifest, context);
  const key = manifestKey(name, id);
  await run.lease.assertHeld(context.signal);
  if (!(await store.create(key, encodeDocument(manifest), context.signal))) {
    throw new ToolError(`${store.describe(key)} exists already: run the backup again.`);
  }
  await assertStillHeld(run, key, context);
  await writeBeat(run, "full", id, pulled, point, context);
  const stored = manifest.objects.reduce((sum, object) => sum + object.storedBytes, 0);
  return { manifest, bytes: stored + pulled.bytes, recoverableUntil: recoverableUntil(point) };
}

/** The pull's failure ends the base backup too, so that no part of it is written once this has thrown. */
async function takeBase(
  { pull }: Run,
  replication: Connection,
  target: BaseBackupTarget,
  major: number,
  context: Context,
): Promise<BaseBackup> {
  const taking = takeBaseBackup(replication, target, major, context);
  try {
    return await withPull(pull, taking);
  } finally {
    await replication.close();
    await taking.catch(() => undefined);
  }
}

/** The last look must show what is at the point; without it a difference to the census would prove less. */
async function replayPoint(standby: Standby, point: RestorePoint, context: Context): Promise<void> {
  try {
    await waitForStandby({ ...standby, patienceMs: REPLAY_MS }, lsn(point.lsn), "replayed", context);
  } catch (error) {
    if (!(error instanceof ToolError)) throw error;
    context.log.warning(
      `${error.message} The backup is complete, but a recovery of it cannot tell a difference to the census from a change of the source.`,
    );
  }
}

/** What the census is taken of; undefined when the runbook wants none. */
function censusSource(run: Run, backupId: string, major: number, context: Context): CensusSource | undefined {
  const { config } = run.setting;
  if (config.census === false) return undefined;
  return {
    backupId,
    major,
    database: run.sql.endpoint.database,
    extent: config.census,
    checkedTables: config.checks.flatMap((check) => ("rows" in check ? [check.rows] : [])),
    open: run.openDatabase,
    context,
  };
}

/** A backup is listed only when the WAL that makes it consistent is in the store. */
async function assertWalComplete(run: Run, base: BaseBackup, end: bigint, context: Context): Promise<void> {
  const { store, component } = run.archive;
  const { walSegmentBytes } = run.identity;
  const { signal } = context;
  const listed = await listSegments(store, component, walSegmentBytes, signal);
  const start = lsn(base.startLsn);
  const from = { position: start, timeline: base.timeline };
  const inventory = await withUnlisted(store, component, listed, from, signal);
  const chain = wholeSegments(chainFrom(inventory, start, base.timeline));
  if ((chain.at(-1)?.number ?? -1) >= segmentBefore(end, walSegmentBytes)) return;
  throw new ToolError(
    `The backup needs the WAL segment ${missingAfter(inventory, start, base.timeline)}, which is not in the store: run the backup again.`,
  );
}

async function assertObjectsStored(run: Run, manifest: BackupManifest, context: Context): Promise<void> {
  const { store, component } = run.archive;
  for (const object of manifest.objects) {
    const key = `${backupPrefix(component, manifest.id)}${object.name}`;
    const stat = await store.stat(key, context.signal);
    if (stat?.bytes === object.storedBytes) continue;
    throw new ToolError(
      `${store.describe(key)} has ${stat?.bytes ?? "no"} bytes after ${object.storedBytes} were written: run the backup again.`,
    );
  }
}

/**
 * Another run that took over just before the manifest was written may have cleared the parts away as those of a dead one.
 */
async function assertStillHeld({ lease, bareStore }: Run, key: string, context: Context): Promise<void> {
  try {
    await lease.assertHeld(context.signal);
  } catch (error) {
    await bareStore.delete([key], AbortSignal.timeout(CLEAN_UP_MS));
    throw error;
  }
}

/** Best effort, also when the run was stopped: what is left is not listed as a backup anyway. */
async function removeUnlisted(run: Run, id: string, context: Context): Promise<void> {
  const { store, component } = run.archive;
  const signal = AbortSignal.timeout(CLEAN_UP_MS);
  try {
    const keys: string[] = [];
    for await (const object of store.list(backupPrefix(component, id), signal)) keys.push(object.key);
    // A listing may not show it yet.
    if ((await store.stat(manifestKey(component, id), signal)) !== undefined) return;
    await store.delete(keys, signal);
  } catch {
    context.log.warning(
      `Parts of the unfinished backup ${id} remain in ${store.describe(backupPrefix(component, id))}: it is not listed, and the next run removes them.`,
    );
  }
}
