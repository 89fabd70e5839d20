import {
  heartbeatKey,
  historyKey,
  partialKey,
  partialSidecarKey,
  segmentKey,
  sidecarKey,
} from "../../catalog/layout.ts";
import { formatLsn, lsn } from "../../catalog/lsn.ts";
import type { TimelinePath } from "../../catalog/timelines.ts";
import type { NamedPoint } from "../../catalog/wal.ts";
import { DefectError, UserError } from "../../errors.ts";
import { quote } from "../../quote.ts";
import { formatMicros } from "../../targets.ts";
import { formatDuration } from "../../values.ts";
import { isOwnPoint } from "../marker/names.ts";
import type { StoreSetting } from "../store-setting.ts";
import type { Candidate } from "./candidates.ts";
import type { Reach, ReachedPoint } from "./reach.ts";

/**
 * A segment that recovery needs is missing, or the partial with so many bytes of it. Names the object itself: the
 * segment, or only its sidecar.
 */
export async function missingWal(
  setting: StoreSetting,
  lost: { readonly missing: string; readonly missingBytes: number | undefined },
  backupId: string,
  signal: AbortSignal,
): Promise<DefectError> {
  const { store, name } = setting;
  const { missing: segment, missingBytes: bytes } = lost;
  const sealed = setting.encryption.recipients.length > 0;

  async function isThere(key: (sealed: boolean) => string): Promise<boolean> {
    return (
      ((await store.stat(key(sealed), signal)) ?? (await store.stat(key(!sealed), signal))) !== undefined
    );
  }

  async function lostKey(): Promise<string> {
    if (await isThere((form) => segmentKey(name, segment, form))) return sidecarKey(name, segment);
    if (bytes === undefined) return segmentKey(name, segment, sealed);
    return (await isThere((form) => partialKey(name, segment, bytes, form)))
      ? partialSidecarKey(name, segment, bytes)
      : partialKey(name, segment, bytes, sealed);
  }

  const key = await lostKey();
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

/** All WAL is there, but no sidecar names the point any more in which the last run ended. */
export function lostPoint(
  { store, name }: StoreSetting,
  promised: bigint,
  newest: bigint | undefined,
): DefectError {
  const subject = store.describe(heartbeatKey(name));
  const found =
    newest === undefined
      ? "no sidecar names a point"
      : `the newest point that a sidecar names is of ${formatMicros(newest)}`;
  return new DefectError(
    subject,
    `${subject} says that ${name} can be recovered up to ${formatMicros(promised)}, but ${found}: a sidecar was altered. Choose an earlier target, or take a new backup.`,
  );
}

/** Without a named point behind the backup nothing can be proven to be reached. */
export function noNamedPoint(component: string, backupId: string): UserError {
  return new UserError(
    `The WAL after the backup ${backupId} of ${component} ends in no named restore point, so no point of it can be proven to be reached: GRANT EXECUTE ON FUNCTION pg_create_restore_point(text), pg_switch_wal() to the backup's role (on the primary, which the component's key primary names, when the source is a standby) and run the backup action with kind: wal, or recover with target immediate.`,
  );
}

/** The two ways in which a target can lie outside what a backup and its WAL reach; each names what they do reach. */
export interface Window {
  readonly tooEarly: (oldest: Reach) => UserError;
  readonly tooLate: (reach: Reach, newest: ReachedPoint) => UserError;
}

/** What a refusal has to know. */
interface Asked {
  readonly archive: { readonly setting: StoreSetting };
  /** The user chose that backup. */
  readonly named: boolean;
}

export function timeWindow({ archive, named }: Asked, micros: bigint): Window {
  const component = archive.setting.name;
  const target = formatMicros(micros);
  return {
    tooEarly({ stopMicros, newest }) {
      const upTo = newest === undefined ? "" : ` and up to ${formatMicros(newest.micros)}`;
      return new UserError(
        `The target ${target} is ${distance(stopMicros + 1n - micros)} too early for ${component}: ${which(named)} ended at ${formatMicros(stopMicros)}, so choose a time after that${upTo}.`,
      );
    },
    tooLate({ stopMicros }, newest) {
      return new UserError(
        `The target ${target} is ${distance(micros - newest.micros)} later than the newest archived point of ${component}: choose a time after ${formatMicros(stopMicros)} and up to ${formatMicros(newest.micros)}, or archive newer WAL first.`,
      );
    },
  };
}

/** `margin`: bytes before the newest point's end that are no target any more. */
export function lsnWindow({ archive, named }: Asked, position: bigint, margin: bigint): Window {
  const component = archive.setting.name;
  const target = formatLsn(position);
  const endOf = ({ point }: ReachedPoint) => formatLsn(lsn(point.lsn) - margin);
  return {
    tooEarly({ stopLsn, newest }) {
      const upTo = newest === undefined ? "" : ` up to ${endOf(newest)}`;
      return new UserError(
        `The target lsn:${target} is too early for ${component}: ${which(named)} ended at ${formatLsn(stopLsn)}, so choose a position from there on${upTo}.`,
      );
    },
    tooLate({ stopLsn }, newest) {
      return new UserError(
        `The target lsn:${target} lies behind the newest archived point of ${component}: choose a position from ${formatLsn(stopLsn)} up to ${endOf(newest)}, or archive newer WAL first.`,
      );
    },
  };
}

export function xidWindow({ archive, named }: Asked, xid: bigint): Window {
  const component = archive.setting.name;
  return {
    tooEarly({ stopMicros, newest }) {
      const upTo = newest === undefined ? "" : ` and up to ${formatMicros(newest.micros)}`;
      return new UserError(
        `The transaction ${xid} is too early for ${component}: it had ended when ${which(named)} did, at ${formatMicros(stopMicros)}. Choose one that ended after that${upTo}.`,
      );
    },
    tooLate({ stopMicros }, newest) {
      return new UserError(
        `The transaction ${xid} had not ended at the newest archived point of ${component}: choose one that ended after ${formatMicros(stopMicros)} and up to ${formatMicros(newest.micros)}, or archive newer WAL first.`,
      );
    },
  };
}

function which(named: boolean): string {
  return named ? "that backup" : "the oldest backup";
}

/** Neither commit nor abort of the transaction is in WAL that holds everything up to when it had ended. */
export function noEndOfTransaction(xid: bigint): UserError {
  return new UserError(
    `The WAL holds neither a commit nor an abort of transaction ${xid}: it is a subtransaction, or the server crashed while it ran. Choose another transaction, or a time.`,
  );
}

export function noSnapshots(component: string): UserError {
  return new UserError(
    `The backups of ${component} do not say which transactions they hold, so no target xid: can be proven to be reached: take a new backup, or choose a time.`,
  );
}

/** The names that a refusal shows. */
const MOST_NAMES = 10;

/** `known`: names of the points that the archive does hold, newest last. */
export function unknownPoint(
  component: string,
  name: string,
  known: readonly string[],
  from: bigint,
  to: bigint,
): UserError {
  // Those of our own runs are not what anybody would ask for by name.
  const others = known.filter((one) => !isOwnPoint(one)).slice(-MOST_NAMES);
  const has =
    others.length === 0
      ? "there is none that pg_create_restore_point made"
      : `there are ${others.map(quote).join(", ")}`;
  return new UserError(
    `The archived WAL of ${component} holds no restore point named ${quote(name)}, from ${formatMicros(from)} to ${formatMicros(to)}: ${has}.`,
  );
}

export function ambiguousPoint(
  component: string,
  name: string,
  backupId: string,
  found: readonly NamedPoint[],
): UserError {
  const each = found.slice(-MOST_NAMES).map((point) => `${point.lsn} (${point.time})`);
  return new UserError(
    `The WAL of ${component} behind the backup ${backupId} holds ${found.length} restore points named ${quote(name)}, at ${each.join(", ")}: choose one with a target time, or lsn:… with ?exclusive.`,
  );
}

export function unknownTimeline(component: string, timeline: number, known: readonly number[]): UserError {
  const list = known.toSorted((a, b) => a - b).join(", ");
  return new UserError(
    `The archive of ${component} has no timeline ${timeline}: it has ${known.length === 1 ? "only" : "the timelines"} ${list}.`,
  );
}

/** No backup lies on the way to the timeline, not even the `oldest`. */
export function branchedBefore(component: string, path: TimelinePath, oldest: Candidate): UserError {
  const left = path.ancestors.find(({ timeline }) => timeline === oldest.details.timeline);
  const where =
    left === undefined
      ? `is none that timeline ${path.timeline} grew out of`
      : `was left at ${formatLsn(left.end)}, before the backup ${oldest.manifest.id} ended at ${formatLsn(oldest.stopLsn)}`;
  return new UserError(
    `No backup of ${component} leads to timeline ${path.timeline}: timeline ${oldest.details.timeline} ${where}. Choose another timeline, or leave ?timeline= out.`,
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
