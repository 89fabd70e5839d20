import { listBackups, readBackup } from "../../catalog/backups.ts";
import { readHeartbeat } from "../../catalog/heartbeat.ts";
import { manifestKey, objectKey, sidecarKey } from "../../catalog/layout.ts";
import { lsn, parseSegmentName, segmentBefore } from "../../catalog/lsn.ts";
import type { BackupManifest } from "../../catalog/manifest.ts";
import {
  chainFrom,
  listSegments,
  missingAfter,
  newestRestorePoint,
  type RestorePoint,
  timelinesFrom,
  type WalInventory,
  type WalSegment,
} from "../../catalog/wal.ts";
import type { RecoveryRequest } from "../../component.ts";
import { DefectError, UserError } from "../../errors.ts";
import { parseTime, type Target } from "../../targets.ts";
import { type PostgresDetails, readDetails } from "../details.ts";
import type { Goal } from "../scratch/server-settings.ts";
import type { StoreSetting } from "../store-setting.ts";
import { missingHistory, missingWal, noIdentity, noNamedPoint, tooEarly, tooLate } from "./plan-refusals.ts";

/** What a recovery will do, decided before anything is fetched. */
export interface RecoveryPlan {
  readonly manifest: BackupManifest;
  readonly details: PostgresDetails;
  readonly goal: Goal;
  /** The timeline to follow, which may have grown out of the backup's. */
  readonly timeline: number;
  /** Everything that replay can ask for, in order. */
  readonly segments: readonly WalSegment[];
  /** Timelines whose history file replay needs. */
  readonly histories: readonly number[];
  /** Something the user should know although the target can be reached. */
  readonly warning: string | undefined;
}

/** A backup and the WAL that follows it without a gap. */
interface Reach {
  readonly manifest: BackupManifest;
  readonly details: PostgresDetails;
  readonly timeline: number;
  readonly chain: readonly WalSegment[];
  /** The first segment that the chain lacks. */
  readonly missing: string;
  /** Whether there is more WAL behind the missing segment, so that it is a gap and not the archive's end. */
  readonly gap: boolean;
  /** A timeline of which there is WAL but no history file, so that nobody can tell where it belongs. */
  readonly orphan: number | undefined;
  /** The newest named point that lies behind the backup's end. */
  readonly newest:
    | { readonly point: RestorePoint; readonly segment: WalSegment; readonly micros: bigint }
    | undefined;
}

/**
 * Chooses the backup, resolves the target and lists the WAL that leads there. Throws a {@link UserError} with the
 * recoverable window for a target outside it, and a {@link DefectError} that names the first object that is missing.
 */
export async function planRecovery(
  setting: StoreSetting,
  request: RecoveryRequest,
  signal: AbortSignal,
): Promise<RecoveryPlan> {
  const micros = targetMicros(request.target, request.now);
  const candidates = await findBackups(setting, request.backupId, signal);
  const chosen =
    micros === undefined ? candidates.at(-1) : candidates.findLast((one) => one.stopMicros < micros);
  const first = chosen ?? candidates[0];
  if (first === undefined) {
    throw new UserError(`${setting.name} has no backup to recover from: run the backup action first.`);
  }
  const reach = await measureReach(setting, first.manifest, first.details, signal);
  if (micros !== undefined && chosen === undefined) {
    throw tooEarly(
      setting.name,
      micros,
      first.stopMicros,
      reach.newest?.micros,
      request.backupId !== undefined,
    );
  }
  const plan = await choose(setting, request.target, micros, reach, first.stopMicros, signal);
  await requireObjects(setting, reach.manifest, signal);
  return plan;
}

/** A time target in microseconds; undefined for one that is no time. */
function targetMicros(target: Target, now: Date): bigint | undefined {
  if (target.kind === "time") return target.micros;
  if (target.kind === "before-now") return (BigInt(now.getTime()) - BigInt(target.seconds) * 1000n) * 1000n;
  return undefined;
}

interface Candidate {
  readonly manifest: BackupManifest;
  readonly details: PostgresDetails;
  readonly stopMicros: bigint;
}

/** Physical backups of PostgreSQL, oldest first. */
async function findBackups(
  setting: StoreSetting,
  backupId: string | undefined,
  signal: AbortSignal,
): Promise<Candidate[]> {
  const { store, name } = setting;
  const manifests =
    backupId === undefined
      ? await listBackups(store, name, signal)
      : [await readBackup(store, name, backupId, signal)];
  return manifests
    .filter((manifest) => manifest.type === "postgres" && manifest.method === "physical")
    .map((manifest) => {
      const subject = store.describe(manifestKey(name, manifest.id));
      const details = readDetails(manifest, subject);
      return { manifest, details, stopMicros: readMicros(details.stopTime, subject) };
    });
}

function readMicros(text: string, subject: string): bigint {
  const micros = parseTime(text);
  if (micros !== undefined) return micros;
  throw new DefectError(subject, `${subject} holds "${text}" where a time should be.`);
}

async function measureReach(
  setting: StoreSetting,
  manifest: BackupManifest,
  details: PostgresDetails,
  signal: AbortSignal,
): Promise<Reach> {
  const { store, name } = setting;
  const inventory = await listSegments(store, name, details.walSegmentBytes, signal);
  const start = lsn(details.startLsn);
  const timeline = chooseTimeline(inventory, start, details.timeline);
  const chain = chainFrom(inventory, start, details.timeline, timeline);
  const missing = missingAfter(inventory, start, details.timeline, timeline);
  const last = await lastArchived(setting, signal);
  const found = await newestRestorePoint(store, name, chain, signal);
  const beyond = found !== undefined && lsn(found.point.lsn) > lsn(details.stopLsn);
  return {
    manifest,
    details,
    timeline,
    chain,
    missing,
    gap: isGap(inventory, missing, timeline, last),
    orphan: orphanTimeline(inventory, timeline),
    newest: beyond
      ? {
          ...found,
          micros: readMicros(found.point.time, store.describe(sidecarKey(name, found.segment.name))),
        }
      : undefined,
  };
}

/** The youngest timeline that the archive really holds, as PostgreSQL's own `latest` would choose it. */
function chooseTimeline(inventory: WalInventory, start: bigint, timeline: number): number {
  const held = new Set([...inventory.segments.values()].map((segment) => segment.timeline));
  return timelinesFrom(inventory, start, timeline).findLast((one) => held.has(one)) ?? timeline;
}

/** The segment up to which the last successful run archived, so that a loss at the very end is seen too. */
async function lastArchived(setting: StoreSetting, signal: AbortSignal): Promise<string | undefined> {
  const beat = await readHeartbeat(setting.store, setting.name, signal);
  return beat?.lastSegment ?? undefined;
}

function isGap(
  inventory: WalInventory,
  missing: string,
  timeline: number,
  last: string | undefined,
): boolean {
  const { segmentBytes } = inventory;
  const hole = parseSegmentName(missing, segmentBytes)?.number ?? 0;
  const archived = last === undefined ? undefined : parseSegmentName(last, segmentBytes);
  // Segments are stored in any order, so a run that was broken off, or is under way, leaves holes behind the last
  // successful run's end: nothing was promised there, and the next run fills them.
  if (archived !== undefined && archived.timeline === timeline) return archived.number >= hole;
  const behind = [...inventory.segments.keys(), ...inventory.unfinished]
    .map((name) => parseSegmentName(name, segmentBytes))
    .filter((segment) => segment !== undefined);
  return behind.some((segment) => segment.timeline === timeline && segment.number > hole);
}

function orphanTimeline({ segments, histories }: WalInventory, followed: number): number | undefined {
  const held = [...segments.values()].map((segment) => segment.timeline);
  return held.find((timeline) => timeline > followed && !histories.has(timeline));
}

async function choose(
  setting: StoreSetting,
  target: Target,
  micros: bigint | undefined,
  reach: Reach,
  stopMicros: bigint,
  signal: AbortSignal,
): Promise<RecoveryPlan> {
  const { manifest, details, chain, newest } = reach;
  const consistent = segmentBefore(lsn(details.stopLsn), details.walSegmentBytes);
  if ((chain.at(-1)?.number ?? -1) < consistent)
    throw await missingWal(setting, reach.missing, manifest.id, signal);

  if (target.kind === "immediate") {
    return planFor(reach, { kind: "immediate" }, consistent, undefined);
  }
  if (micros === undefined) {
    // Ending at an older point, because WAL behind it is gone, would be a loss that nobody sees.
    if (reach.orphan !== undefined) throw missingHistory(setting, reach.orphan);
    if (reach.gap) throw await missingWal(setting, reach.missing, manifest.id, signal);
    if (newest === undefined) throw noNamedPoint(setting.name, manifest.id);
    const { name, lsn: position } = newest.point;
    const goal: Goal = { kind: "restore-point", name, lsn: lsn(position), micros: newest.micros };
    return planFor(reach, goal, segmentOf(newest, details), undefined);
  }
  if (newest === undefined || micros > newest.micros) {
    if (reach.orphan !== undefined) throw missingHistory(setting, reach.orphan);
    if (reach.gap) throw await missingWal(setting, reach.missing, manifest.id, signal);
    if (newest === undefined) throw noNamedPoint(setting.name, manifest.id);
    throw tooLate(setting.name, micros, stopMicros, newest.micros);
  }
  const warning = reach.gap
    ? `The WAL of ${setting.name} has a gap behind the target: ${reach.missing} is missing, and nothing after it can be recovered from this backup.`
    : undefined;
  return planFor(reach, { kind: "time", micros }, segmentOf(newest, details), warning);
}

function segmentOf(newest: NonNullable<Reach["newest"]>, details: PostgresDetails): number {
  return Math.max(newest.segment.number, segmentBefore(lsn(newest.point.lsn), details.walSegmentBytes));
}

function planFor(reach: Reach, goal: Goal, lastNumber: number, warning: string | undefined): RecoveryPlan {
  const { manifest, details, timeline, chain } = reach;
  const segments = chain.filter((segment) => segment.number <= lastNumber);
  return { manifest, details, goal, timeline, segments, histories: timeline > 1 ? [timeline] : [], warning };
}

/** Every object of the backup is there in its full size and can be opened, or nothing is fetched at all. */
async function requireObjects(
  setting: StoreSetting,
  manifest: BackupManifest,
  signal: AbortSignal,
): Promise<void> {
  const { store, name, encryption } = setting;
  for (const object of manifest.objects) {
    const key = objectKey(name, manifest.id, object.name);
    if (object.sealed && encryption.identity() === undefined) throw noIdentity(store.describe(key));
    const found = await store.stat(key, signal);
    if (found?.bytes === object.storedBytes) continue;
    const subject = store.describe(key);
    throw new DefectError(
      subject,
      found === undefined
        ? `${subject} is missing: the backup ${manifest.id} is incomplete.`
        : `${subject} has ${found.bytes} bytes, but the backup recorded ${object.storedBytes}: it is damaged.`,
    );
  }
}
