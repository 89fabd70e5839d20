import { historyKey, segmentKey, sidecarKey } from "../../catalog/layout.ts";
import { DefectError, UserError } from "../../errors.ts";
import { formatMicros } from "../../targets.ts";
import { formatDuration } from "../../values.ts";
import type { StoreSetting } from "../store-setting.ts";

/** A segment that recovery needs is missing. Names the object itself: the segment, or only its sidecar. */
export async function missingWal(
  setting: StoreSetting,
  segment: string,
  backupId: string,
  signal: AbortSignal,
): Promise<DefectError> {
  const { store, name } = setting;
  const packed = segmentKey(name, segment, setting.encryption.recipients.length > 0);
  const other = segmentKey(name, segment, setting.encryption.recipients.length === 0);
  const found = (await store.stat(packed, signal)) ?? (await store.stat(other, signal));
  const key = found === undefined ? packed : sidecarKey(name, segment);
  const subject = store.describe(key);
  return new DefectError(
    subject,
    `${subject} is missing, so the WAL after the backup ${backupId} has a gap and what lies behind it cannot be recovered: take a new backup, and find out what removed the object.`,
  );
}

/** There is WAL of a timeline, but nothing says where it belongs. */
export function missingHistory({ store, name }: StoreSetting, timeline: number): DefectError {
  const subject = store.describe(historyKey(name, timeline));
  return new DefectError(
    subject,
    `${subject} is missing, although there is WAL of timeline ${timeline}: nothing on that timeline can be recovered.`,
  );
}

/** Without a named point behind the backup nothing can be proven to be reached. */
export function noNamedPoint(component: string, backupId: string): UserError {
  return new UserError(
    `The WAL after the backup ${backupId} of ${component} ends in no named restore point, so no point of it can be proven to be reached: GRANT EXECUTE ON FUNCTION pg_create_restore_point(text), pg_switch_wal() to the backup's role and run the backup action with kind: wal, or recover with target immediate.`,
  );
}

/** `from` and `to` are the recoverable window. */
export function tooLate(component: string, micros: bigint, from: bigint, to: bigint): UserError {
  return new UserError(
    `The target ${formatMicros(micros)} is ${distance(micros - to)} later than the newest archived point of ${component}: choose a time after ${formatMicros(from)} and up to ${formatMicros(to)}, or archive newer WAL first.`,
  );
}

/** `from` is the end of the backup, and `to` the newest named point behind it; `named`: the user chose that backup. */
export function tooEarly(
  component: string,
  micros: bigint,
  from: bigint,
  to: bigint | undefined,
  named: boolean,
): UserError {
  const upTo = to === undefined ? "" : ` and up to ${formatMicros(to)}`;
  const which = named ? "that backup" : "the oldest backup";
  return new UserError(
    `The target ${formatMicros(micros)} is ${distance(from + 1n - micros)} too early for ${component}: ${which} ended at ${formatMicros(from)}, so choose a time after that${upTo}.`,
  );
}

export function noIdentity(subject: string): UserError {
  return new UserError(
    `${subject} is sealed with age: give the private key (AGE-SECRET-KEY-1…) as encryption.identity of its store.`,
  );
}

function distance(micros: bigint): string {
  const seconds = Number(micros) / 1e6;
  return seconds < 0.1 ? `${micros} µs` : formatDuration(Math.round(seconds * 10) / 10);
}
