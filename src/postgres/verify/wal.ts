import { historyKey, manifestKey, segmentKey, sidecarKey } from "../../catalog/layout.ts";
import {
  formatLsn,
  lsn,
  parseSegmentName,
  segmentAt,
  segmentBefore,
  segmentName,
  segmentStart,
} from "../../catalog/lsn.ts";
import { newestRestorePoint, type RestorePoint, readSidecarOf } from "../../catalog/wal.ts";
import {
  followRuns,
  heldTimelines,
  listRuns,
  type Reached,
  timelineAt,
  type WalRuns,
  youngestFrom,
} from "../../catalog/wal-runs.ts";
import { DefectError } from "../../errors.ts";
import { ObjectMissing } from "../../stores/store.ts";
import { parseTime } from "../../targets.ts";
import { endOfNeededWal } from "../details.ts";
import type { VerifiedBackup } from "./backups.ts";
import { NEW_BACKUP, type Subject } from "./subject.ts";

/** What the WAL behind the backups leads to. */
export interface WalState {
  readonly inventory: WalRuns;
  /** The newest point that the newest usable backup leads to; undefined when there is none. */
  readonly point: RestorePoint | undefined;
  /** The oldest backup whose unbroken chain leads to that point. */
  readonly oldest: VerifiedBackup | undefined;
}

/** So many segments before the end of the chain are looked through for a point. */
const MOST_LOOKED_AT = 2_000;

interface Followed {
  readonly backup: VerifiedBackup;
  readonly timeline: number;
  readonly reached: Reached;
  /** Whether the WAL without which the backup cannot be recovered at all is there. */
  readonly consistent: boolean;
  /** Whether there is WAL behind the end of the chain, or a run says that there was. */
  readonly gap: boolean;
}

/** Follows the chain of each backup through the listing of the WAL. */
export async function inspectWal(subject: Subject, backups: readonly VerifiedBackup[]): Promise<WalState> {
  const { setting, context, findings } = subject;
  const { store, name } = setting;
  const segmentBytes = backups.at(-1)?.details.walSegmentBytes ?? 16 * 2 ** 20;
  const inventory = await listRuns(store, name, segmentBytes, context.signal);
  for (const broken of inventory.brokenHistories) {
    findings.error("wal-corrupt", broken.subject, broken.message, NEW_BACKUP);
  }
  reportForks(subject, inventory, backups);
  const followed = backups
    .filter((backup) => backup.details.walSegmentBytes === segmentBytes)
    .map((backup) => follow(subject, inventory, backup));
  await reportGaps(subject, inventory, followed);
  for (const one of followed) await inspectOwnPoint(subject, one.backup);
  const usable = followed.filter((one) => one.consistent && one.backup.whole);
  const point = await findPoint(subject, inventory, usable.at(-1));
  const oldest = usable.find(
    (one) => point !== undefined && reaches(one, point, usable.at(-1), segmentBytes),
  );
  return { inventory, point, oldest: oldest?.backup };
}

function follow({ heartbeat }: Subject, inventory: WalRuns, backup: VerifiedBackup): Followed {
  const { segmentBytes } = inventory;
  const { details, startLsn } = backup;
  const timeline = youngestFrom(inventory, startLsn, details.timeline);
  const reached = followRuns(inventory, startLsn, details.timeline, timeline);
  const end = endOf(reached, segmentBytes);
  return {
    ...{ backup, timeline, reached },
    consistent: end >= endOfNeededWal(details),
    gap: hasMore(inventory, reached, timeline, end) || promised(heartbeat, timeline, segmentBytes) > end,
  };
}

function endOf({ last, partial }: Reached, segmentBytes: number): bigint {
  return segmentStart(last + 1, segmentBytes) + BigInt(partial?.bytes ?? 0);
}

/** Whether there is WAL of the timeline behind the end of the chain. */
function hasMore(
  { runs, partials, segmentBytes }: WalRuns,
  { last }: Reached,
  timeline: number,
  end: bigint,
): boolean {
  if (runs.some((run) => run.timeline === timeline && run.last > last)) return true;
  return [...partials.keys()].some((name) => {
    const parsed = parseSegmentName(name, segmentBytes);
    return parsed?.timeline === timeline && segmentStart(parsed.number, segmentBytes) > end;
  });
}

/** Up to where the last run says that WAL of the timeline lies in the store. */
function promised(heartbeat: Subject["heartbeat"], timeline: number, segmentBytes: number): bigint {
  const whole =
    heartbeat?.lastSegment == null ? undefined : parseSegmentName(heartbeat.lastSegment, segmentBytes);
  const partial =
    heartbeat?.partial == null ? undefined : parseSegmentName(heartbeat.partial.segment, segmentBytes);
  if (partial?.timeline === timeline) {
    return segmentStart(partial.number, segmentBytes) + BigInt(heartbeat?.partial?.bytes ?? 0);
  }
  return whole?.timeline === timeline ? segmentStart(whole.number + 1, segmentBytes) : 0n;
}

/**
 * One finding for each place where the chain breaks. A break behind which a newer backup began a new chain, as it then
 * said, is known: moments in it cannot be recovered, and nothing can be done about it.
 */
async function reportGaps(
  subject: Subject,
  inventory: WalRuns,
  followed: readonly Followed[],
): Promise<void> {
  const { setting, findings } = subject;
  const { store, name } = setting;
  const { segmentBytes, halves } = inventory;
  const places = new Map<string, Followed[]>();
  for (const one of followed) {
    if (one.consistent && !one.gap) continue;
    places.set(one.reached.missing, [...(places.get(one.reached.missing) ?? []), one]);
  }
  for (const [missing, affected] of places) {
    const half = halves.get(missing);
    const sealed = setting.encryption.recipients.length > 0;
    const key = half === "segment" ? sidecarKey(name, missing) : segmentKey(name, missing, sealed);
    const number = parseSegmentName(missing, segmentBytes)?.number ?? 0;
    const known = followed.some(({ backup: { details } }) => (details.newChain ?? -1) > number);
    const unusable = affected.filter((one) => !one.consistent).map((one) => one.backup.manifest.id);
    const object = store.describe(key);
    if (await isThere(subject, missing)) {
      const message = `${object} is there, but the store's list does not show it: WAL behind it was not looked at.`;
      findings.warn("not-verified", object, message, "Verify again when the list has caught up.");
    } else if (unusable.length > 0) {
      findings.error(
        "wal-gap",
        object,
        `${object} is missing, so the ${unusable.length === 1 ? "backup" : "backups"} ${unusable.join(", ")} of ${name} cannot be recovered at all.`,
        NEW_BACKUP,
      );
    } else if (known) {
      const message = `The WAL of ${name} has a gap from ${missing} on, which a later backup noted when it began a new chain: no moment in it can be recovered.`;
      findings.warn(
        "wal-gap",
        object,
        message,
        "Nothing can be done: retention removes it with its backups.",
      );
    } else {
      const message = `${object} is missing: behind it nothing can be recovered from the backup ${affected.at(-1)?.backup.manifest.id} of ${name} or an older one.`;
      findings.error("wal-gap", object, message, NEW_BACKUP);
    }
  }
}

/** Whether a whole segment is in the store although the list does not show it: some stores list what is new only later. */
async function isThere({ setting, context }: Subject, segment: string): Promise<boolean> {
  const { store, name } = setting;
  if ((await store.stat(sidecarKey(name, segment), context.signal)) === undefined) return false;
  for (const sealed of [true, false]) {
    if ((await store.stat(segmentKey(name, segment, sealed), context.signal)) !== undefined) return true;
  }
  return false;
}

/** Timelines that cannot be told apart, or that both go on. */
function reportForks(subject: Subject, inventory: WalRuns, backups: readonly VerifiedBackup[]): void {
  const { setting, findings } = subject;
  const { store, name } = setting;
  const { histories, runs, segmentBytes } = inventory;
  const held = heldTimelines(inventory);
  const first = Math.min(...backups.map(({ details }) => details.timeline), ...held);
  for (const timeline of held) {
    if (timeline === first || histories.has(timeline)) continue;
    const object = store.describe(historyKey(name, timeline));
    findings.error(
      "timeline-fork",
      object,
      `${object} is missing, although there is WAL of timeline ${timeline}: nobody can tell where it belongs.`,
      "Run the backup action, which stores the server's history file again; else take a full backup.",
    );
  }
  for (const path of histories.values()) {
    const left = path.ancestors.at(-1);
    if (left === undefined) continue;
    const beyond = runs.some(
      (run) => run.timeline === left.timeline && run.last > segmentAt(left.end, segmentBytes),
    );
    const younger = backups.some(
      (backup) => backup.details.timeline === left.timeline && backup.startLsn > left.end,
    );
    if (!beyond && !younger) continue;
    const object = store.describe(historyKey(name, path.timeline));
    const message = `Timeline ${left.timeline} of ${name} goes on behind ${formatLsn(left.end)}, where timeline ${path.timeline} left it: two servers have written ${younger ? "backups" : "WAL"} after a promotion.`;
    const remedy = `Stop the server that was not promoted; ?timeline=${left.timeline} still reaches its WAL.`;
    if (younger) findings.error("timeline-fork", object, message, remedy);
    else findings.warn("timeline-fork", object, message, remedy);
  }
}

/** The point that a backup's own run ended in must be in the segment that it says. */
async function inspectOwnPoint(
  { setting, context, findings }: Subject,
  backup: VerifiedBackup,
): Promise<void> {
  const { store, name } = setting;
  const { restorePoint: point, timeline, walSegmentBytes } = backup.details;
  if (point === null) return;
  const number = segmentBefore(lsn(point.lsn), walSegmentBytes);
  const segment = segmentName(timeline, number, walSegmentBytes);
  try {
    const { restorePoints = [] } = await readSidecarOf(store, name, { name: segment }, context.signal);
    if (restorePoints.some((one) => one.name === point.name && one.lsn === point.lsn)) return;
    const subject = store.describe(manifestKey(name, backup.manifest.id));
    const message = `${subject} says that the restore point ${point.name} is at ${point.lsn}, but ${store.describe(sidecarKey(name, segment))} does not: one of them was altered.`;
    findings.error("backup-corrupt", subject, message, NEW_BACKUP);
  } catch (error) {
    // That it is missing is a gap.
    if (error instanceof ObjectMissing) return;
    if (!(error instanceof DefectError)) throw error;
    findings.error("wal-corrupt", error.subject, error.message, NEW_BACKUP);
  }
}

/** The segments are all there, but none says any more where the last run ended. */
function reportLostPoint(
  { setting, heartbeat, findings }: Subject,
  point: RestorePoint,
  timeline: number,
  segmentBytes: number,
): void {
  const until = heartbeat?.recoverableUntil ?? undefined;
  const last = heartbeat?.lastSegment ?? undefined;
  if (until === undefined || last === undefined || findings.has("wal-gap")) return;
  if (parseSegmentName(last, segmentBytes)?.timeline !== timeline) return;
  if ((parseTime(point.time) ?? 0n) >= (parseTime(until) ?? 0n)) return;
  const { store, name } = setting;
  findings.error(
    "wal-corrupt",
    store.describe(sidecarKey(name, last)),
    `The last run of ${name} said that it can be recovered up to ${until}, but the newest restore point that a sidecar names is of ${point.time}: a sidecar was altered.`,
    NEW_BACKUP,
  );
}

async function findPoint(
  subject: Subject,
  inventory: WalRuns,
  newest: Followed | undefined,
): Promise<RestorePoint | undefined> {
  const { setting, context, findings } = subject;
  if (newest === undefined) return undefined;
  const { store, name } = setting;
  const { backup, reached } = newest;
  const first = segmentAt(backup.startLsn, inventory.segmentBytes);
  const from = Math.max(first, reached.last - MOST_LOOKED_AT);
  const segments: { readonly name: string; readonly partial?: { readonly bytes: number } }[] = [];
  for (let number = from; number <= reached.last; number += 1) {
    const timeline = timelineAt(reached.path, number, inventory.segmentBytes, reached.from);
    segments.push({ name: segmentName(timeline, number, inventory.segmentBytes) });
  }
  const { partial } = reached;
  if (partial !== undefined) segments.push({ name: partial.segment, partial: { bytes: partial.bytes } });
  try {
    const found = await newestRestorePoint(store, name, segments, context.signal);
    if (found !== undefined && lsn(found.point.lsn) > lsn(backup.details.stopLsn)) {
      reportLostPoint(subject, found.point, newest.timeline, inventory.segmentBytes);
      return found.point;
    }
  } catch (error) {
    if (!(error instanceof DefectError || error instanceof ObjectMissing)) throw error;
    findings.error("wal-corrupt", error.subject, error.message, NEW_BACKUP);
    return undefined;
  }
  findings.error(
    "wal-stale",
    store.describe(manifestKey(name, backup.manifest.id)),
    `The WAL behind the newest backup of ${name} ends in no restore point, so no moment can be proven to be reached.`,
    "Grant the backup's role pg_create_restore_point and pg_switch_wal, and run the backup action with kind: wal.",
  );
  return undefined;
}

/** Whether a backup's chain leads to the end of the newest one's. */
function reaches(
  one: Followed,
  point: RestorePoint,
  newest: Followed | undefined,
  segmentBytes: number,
): boolean {
  return one.timeline === newest?.timeline && endOf(one.reached, segmentBytes) >= lsn(point.lsn);
}
