import { parseLsn } from "./catalog/lsn.ts";
import { UserError } from "./errors.ts";
import { parseDuration } from "./values.ts";

/** Where a recovery shall end. Times are microseconds since 1970, as PostgreSQL counts commits. */
type TargetPoint =
  | { readonly kind: "latest" }
  | { readonly kind: "immediate" }
  /** `exclusive`: without what was committed at that very microsecond. */
  | { readonly kind: "time"; readonly micros: bigint; readonly exclusive: boolean }
  | { readonly kind: "before-now"; readonly seconds: number; readonly exclusive: boolean }
  /** A position in the WAL; `exclusive`: without the record that begins there. */
  | { readonly kind: "lsn"; readonly lsn: bigint; readonly exclusive: boolean }
  /** The end of a transaction, with or without its epoch; `exclusive`: without the transaction. */
  | { readonly kind: "xid"; readonly xid: bigint; readonly exclusive: boolean }
  /** A restore point that `pg_create_restore_point` made. */
  | { readonly kind: "name"; readonly name: string };

/** A recovery target as the user wrote it. */
export type Target = TargetPoint & {
  /** The timeline to follow; undefined: the youngest that the backup leads to. */
  readonly timeline?: number;
};

const TIME =
  /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6})\d*)?)?\s?([Zz]|UTC|[+-]\d\d(?::?[0-5]\d)?)$/;
const ZONELESS = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?$/;
/** What may follow a target: `?exclusive`, `?timeline=2`, or both with `&` or `?` between them. */
const OPTIONS = /^([\s\S]*?)((?:[?&](?:exclusive|timeline=\d+))+)$/;
/** Bytes of a restore point's name in WAL, without the NUL (MAXFNAMELEN). */
const LONGEST_NAME = 63;
/** Smaller ones are PostgreSQL's own (FirstNormalTransactionId). */
const FIRST_XID = 3n;
const LARGEST_TIMELINE = 2 ** 32 - 1;

/**
 * Reads `latest`, `immediate`, an RFC 3339 time with an offset (also `… UTC`, also without seconds), `-15m`,
 * `lsn:0/1A2B3C4D`, `xid:7421` or `name:before-migration`, with `?exclusive` and `?timeline=2` behind it; throws a
 * UserError.
 */
export function parseTarget(text: string): Target {
  const trimmed = text.trim();
  const [, plain = trimmed, options = ""] = OPTIONS.exec(trimmed) ?? [];
  const exclusive = /[?&]exclusive/.test(options);
  const point = parsePoint(plain, exclusive);
  if (exclusive && !("exclusive" in point)) {
    throw new UserError(
      `The target "${trimmed}" cannot be exclusive: ?exclusive may follow a time, an LSN or a transaction.`,
    );
  }
  const [timeline, another] = [...options.matchAll(/timeline=(\d+)/g)].map((match) => Number(match[1]));
  if (timeline === undefined) return point;
  if (another !== undefined) throw new UserError(`The target "${trimmed}" names two timelines: keep one.`);
  if (timeline >= 1 && timeline <= LARGEST_TIMELINE) return { ...point, timeline };
  throw new UserError(`The target "${trimmed}" names timeline ${timeline}, but timelines begin at 1.`);
}

function parsePoint(text: string, exclusive: boolean): TargetPoint {
  if (text === "latest" || text === "immediate") return { kind: text };
  const [, kind, value] = /^(lsn|xid|name):([\s\S]*)$/.exec(text) ?? [];
  if (kind === "lsn") return parseLsnTarget(value ?? "", exclusive);
  if (kind === "xid") return parseXidTarget(value ?? "", exclusive);
  if (kind === "name") return parseNameTarget(value ?? "");
  if (text.startsWith("-")) {
    const seconds = parseDuration(text.slice(1));
    if (seconds !== undefined && seconds > 0) return { kind: "before-now", seconds, exclusive };
  }
  const micros = parseTime(text);
  if (micros !== undefined) return { kind: "time", micros, exclusive };
  if (TIME.test(text)) {
    throw new UserError(
      `The target "${text}" is a time that does not exist: look at the day, the hour and the offset.`,
    );
  }
  throw new UserError(
    ZONELESS.test(text)
      ? `The target "${text}" has no time zone: write "${text}Z" for UTC, or an offset such as "${text}+02:00".`
      : `The target "${text}" is not understood: use latest, immediate, a time such as 2026-01-25T14:30:00Z, a while ago such as -15m, lsn:0/1A2B3C4D, xid:7421 or name:before-migration; ?exclusive and ?timeline=2 may follow.`,
  );
}

function parseLsnTarget(value: string, exclusive: boolean): TargetPoint {
  const lsn = parseLsn(value);
  if (lsn !== undefined && lsn > 0n) return { kind: "lsn", lsn, exclusive };
  throw new UserError(
    `The target "lsn:${value}" is no position in the WAL: write it as pg_current_wal_lsn() does, such as lsn:0/1A2B3C4D.`,
  );
}

/** PostgreSQL itself takes any text for a number here, and goes on to the end of the WAL. */
function parseXidTarget(value: string, exclusive: boolean): TargetPoint {
  const xid = /^\d{1,20}$/.test(value) ? BigInt(value) : 0n;
  if (xid >= FIRST_XID && xid < 2n ** 64n) return { kind: "xid", xid, exclusive };
  throw new UserError(
    `The target "xid:${value}" is no transaction: write the number that pg_current_xact_id() gave, such as xid:7421.`,
  );
}

function parseNameTarget(name: string): TargetPoint {
  const bytes = Buffer.byteLength(name);
  if (bytes > 0 && bytes <= LONGEST_NAME && !name.includes("\0")) return { kind: "name", name };
  throw new UserError(
    bytes === 0
      ? "The target name: lacks the name of a restore point, such as name:before-migration."
      : `The target "name:${name}" is no restore point: a name has at most ${LONGEST_NAME} bytes.`,
  );
}

/** Microseconds since 1970 of an RFC 3339 time with an offset; undefined when it is none or no such day exists. */
export function parseTime(text: string): bigint | undefined {
  const match = TIME.exec(text);
  if (match === null) return undefined;
  const [, year, month, day, hour, minute, second = "00", fraction = "", zone = ""] = match;
  const wall = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (Number.isNaN(wall.getTime()) || wall.getUTCDate() !== Number(day)) return undefined;
  const offset = /^([+-])(\d\d):?(\d\d)?$/.exec(zone);
  const offsetMinutes =
    offset === null ? 0 : Number(`${offset[1]}1`) * (Number(offset[2]) * 60 + Number(offset[3] ?? 0));
  if (Math.abs(offsetMinutes) > 15 * 60 + 59) return undefined;
  const utc = new Date(wall.getTime() - offsetMinutes * 60_000);
  if (utc.getUTCFullYear() < 1 || utc.getUTCFullYear() > 9999) return undefined;
  return BigInt(utc.getTime()) * 1000n + BigInt(fraction.padEnd(6, "0"));
}

/** `2026-01-25 14:30:00.123456+00`: the spelling that every PostgreSQL accepts, and that people read as UTC. */
export function formatMicros(micros: bigint): string {
  // Rounds down also before 1970, where the remainder of a division is negative.
  const fraction = ((micros % 1_000_000n) + 1_000_000n) % 1_000_000n;
  const date = new Date(Number((micros - fraction) / 1000n)).toISOString();
  return `${date.slice(0, 10)} ${date.slice(11, 19)}.${String(fraction).padStart(6, "0")}+00`;
}

/** `2026-01-25T14:30:00.123456Z` */
export function toRfc3339(micros: bigint): string {
  return formatMicros(micros).replace(" ", "T").replace("+00", "Z");
}
