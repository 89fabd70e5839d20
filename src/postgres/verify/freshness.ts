import { backupsPrefix, heartbeatKey, manifestKey } from "../../catalog/layout.ts";
import type { RestorePoint } from "../../catalog/wal.ts";
import { parseTime } from "../../targets.ts";
import { formatBytes, formatDuration } from "../../values.ts";
import type { VerifiedBackup } from "./backups.ts";
import type { Subject } from "./subject.ts";

/** A newest backup below this part of the median of those before it is an error, one above this multiple a warning. */
const SMALL_PART = 0.5;
const LARGE_MULTIPLE = 3;
/** So many backups before the newest make the median; with fewer than the second number there is none. */
const MEDIAN_OF = 7;
const MEDIAN_FROM = 2;
/** Differences below this are noise of small databases. */
const NOISE_BYTES = 2 ** 20;
/** An expired backup may stay so long: prune runs with the next full backup. */
const RETENTION_GRACE_SECONDS = 3 * 86_400;

/** Compares the ages of what there is with the runbook. Returns the seconds of data that would be lost now. */
export function inspectFreshness(
  { setting, request, findings }: Subject,
  backups: readonly VerifiedBackup[],
  point: RestorePoint | undefined,
): number | null {
  const { store, name, config } = setting;
  const now = request.now.getTime();
  const newest = backups.at(-1);
  const age = newest === undefined ? undefined : (now - Date.parse(newest.manifest.finishedAt)) / 1000;
  const most = config.freshness.backup;
  if (most !== undefined && newest !== undefined && age !== undefined && age > most) {
    findings.error(
      "backup-stale",
      store.describe(manifestKey(name, newest.manifest.id)),
      `The newest backup of ${name} is ${formatDuration(age)} old; the runbook wants one not older than ${formatDuration(most)}.`,
      "Look why the backup action did not run or failed, and run it.",
    );
  }
  const micros = point === undefined ? undefined : parseTime(point.time);
  if (micros === undefined) return null;
  const loss = Math.max(0, now / 1000 - Number(micros) / 1e6);
  const limits = [
    { seconds: config.freshness.wal, what: "its freshness.wal is" },
    { seconds: request.rpoSeconds ?? undefined, what: "its RPO is" },
  ];
  for (const { seconds, what } of limits) {
    if (seconds === undefined || loss <= seconds) continue;
    findings.error(
      "wal-stale",
      store.describe(heartbeatKey(name)),
      `${name} can be recovered up to ${point?.time}, ${formatDuration(loss)} ago; ${what} ${formatDuration(seconds)}.`,
      "Look why the backup action with kind: wal did not run or failed, and run it.",
    );
    break;
  }
  return loss;
}

/**
 * The size rule: the newest backup, as stored, against the median of up to seven before it. Less than half is an error,
 * more than three times as much a warning; differences below 1 MiB do not count.
 */
export function inspectSizes({ setting, findings }: Subject, backups: readonly VerifiedBackup[]): void {
  const newest = backups.at(-1);
  const before = backups
    .slice(0, -1)
    .slice(-MEDIAN_OF)
    .map((backup) => backup.storedBytes);
  if (newest === undefined || before.length < MEDIAN_FROM) return;
  const median = medianOf(before);
  const size = newest.storedBytes;
  if (Math.abs(size - median) < NOISE_BYTES) return;
  const { store, name } = setting;
  const subject = store.describe(manifestKey(name, newest.manifest.id));
  const sentence = `The newest backup of ${name} has ${formatBytes(size)}, those before it ${formatBytes(median)} (median of ${before.length})`;
  if (size < median * SMALL_PART) {
    const remedy =
      "Look whether data is gone from the source; if it was removed on purpose, this ends with the next backups.";
    findings.error("size-anomaly", subject, `${sentence}: less than half.`, remedy);
  } else if (size > median * LARGE_MULTIPLE) {
    const remedy = "Look what has grown, and whether disk and RTO still suffice.";
    findings.warn("size-anomaly", subject, `${sentence}: more than three times as much.`, remedy);
  }
}

function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? 0)) / 2;
}

/** Backups that retention should have removed some days ago. */
export function inspectRetention(
  { setting, request, findings }: Subject,
  backups: readonly VerifiedBackup[],
): void {
  const { store, name, config } = setting;
  if (config.retention === undefined) return;
  const { keep, minimum } = config.retention;
  const limit = request.now.getTime() - (keep + RETENTION_GRACE_SECONDS) * 1000;
  const surplus = backups.slice(0, Math.max(0, backups.length - minimum));
  const overdue = surplus.filter(({ manifest }) => Date.parse(manifest.finishedAt) < limit);
  const oldest = overdue[0];
  if (oldest === undefined) return;
  findings.warn(
    "retention-overdue",
    store.describe(backupsPrefix(name)),
    `${overdue.length} backup${overdue.length === 1 ? "" : "s"} of ${name} should have been removed after ${formatDuration(keep)}; the oldest is ${oldest.manifest.id}.`,
    "Run the backup action with prune: true and see its log: retention waits for a newer backup to be verified or drilled.",
  );
}
