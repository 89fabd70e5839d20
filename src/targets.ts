import { UserError } from "./errors.ts";
import { parseDuration } from "./values.ts";

/** A recovery target as the user wrote it. Times are microseconds since 1970, as PostgreSQL counts commits. */
export type Target =
  | { readonly kind: "latest" }
  | { readonly kind: "immediate" }
  | { readonly kind: "time"; readonly micros: bigint }
  | { readonly kind: "before-now"; readonly seconds: number };

const TIME =
  /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6})\d*)?)?\s?([Zz]|UTC|[+-]\d\d(?::?[0-5]\d)?)$/;

/** Reads `latest`, `immediate`, an RFC 3339 time with an offset (also `… UTC`, also without seconds), or `-15m`; throws a UserError. */
export function parseTarget(text: string): Target {
  const trimmed = text.trim();
  if (trimmed === "latest" || trimmed === "immediate") return { kind: trimmed };
  if (trimmed.startsWith("-")) {
    const seconds = parseDuration(trimmed.slice(1));
    if (seconds !== undefined && seconds > 0) return { kind: "before-now", seconds };
  }
  const micros = parseTime(trimmed);
  if (micros !== undefined) return { kind: "time", micros };
  if (TIME.test(trimmed)) {
    throw new UserError(
      `The target "${trimmed}" is a time that does not exist: look at the day, the hour and the offset.`,
    );
  }
  const zoneless = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?$/.test(trimmed);
  throw new UserError(
    zoneless
      ? `The target "${trimmed}" has no time zone: write "${trimmed}Z" for UTC, or an offset such as "${trimmed}+02:00".`
      : `The target "${trimmed}" is not understood: use latest, immediate, a time such as 2026-01-25T14:30:00Z, or a while ago such as -15m.`,
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
