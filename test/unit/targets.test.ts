import { describe, expect, test } from "vitest";
import { UserError } from "../../src/errors.ts";
import { formatMicros, parseTarget, parseTime } from "../../src/targets.ts";

const micros = (iso: string, extra = 0) => BigInt(Date.parse(iso)) * 1000n + BigInt(extra);

describe("a target", () => {
  test.each(["latest", " latest ", "immediate"])("%j is a word", (text) => {
    expect(parseTarget(text)).toEqual({ kind: text.trim() });
  });

  test.each([
    ["-15m", 900],
    ["-1h30m", 5_400],
    ["-2d", 172_800],
  ])("%s counts back from now", (text, seconds) => {
    expect(parseTarget(text)).toEqual({ kind: "before-now", seconds, exclusive: false });
  });

  test.each([
    ["2026-01-25T14:30:00Z", micros("2026-01-25T14:30:00Z")],
    ["2026-01-25t14:30:00z", micros("2026-01-25T14:30:00Z")],
    ["2026-01-25 14:30:00 UTC", micros("2026-01-25T14:30:00Z")],
    ["2026-01-25T14:30Z", micros("2026-01-25T14:30:00Z")],
    ["2026-01-25T14:30:00+02:00", micros("2026-01-25T12:30:00Z")],
    ["2026-01-25T14:30:00-0530", micros("2026-01-25T20:00:00Z")],
    ["2026-01-25 14:30:00+02", micros("2026-01-25T12:30:00Z")],
    ["2026-01-01T00:30:00+01:00", micros("2025-12-31T23:30:00Z")],
    ["2028-02-29T00:00:00Z", micros("2028-02-29T00:00:00Z")],
    ["2026-01-25T14:30:00.5Z", micros("2026-01-25T14:30:00Z", 500_000)],
    ["2026-01-25T14:30:00.123456Z", micros("2026-01-25T14:30:00Z", 123_456)],
    ["2026-01-25T14:30:00.000001+02:00", micros("2026-01-25T12:30:00Z", 1)],
    // Later digits are dropped: a target must not move past the moment that was asked for.
    ["2026-01-25T14:30:00.1234569Z", micros("2026-01-25T14:30:00Z", 123_456)],
  ])("%s is a time, to the microsecond", (text, expected) => {
    expect(parseTarget(text)).toEqual({ kind: "time", micros: expected, exclusive: false });
  });

  test.each([
    ["lsn:0/1A2B3C4D", { kind: "lsn", lsn: 0x1a2b3c4dn, exclusive: false }],
    ["lsn:16/b374d848?exclusive", { kind: "lsn", lsn: 0x16_b374_d848n, exclusive: true }],
    ["xid:7421", { kind: "xid", xid: 7421n, exclusive: false }],
    ["xid:18446744073709551615", { kind: "xid", xid: 2n ** 64n - 1n, exclusive: false }],
    ["xid:3?timeline=2&exclusive", { kind: "xid", xid: 3n, exclusive: true, timeline: 2 }],
    ["name:before-migration", { kind: "name", name: "before-migration" }],
    ["name:v1?really: yes", { kind: "name", name: "v1?really: yes" }],
    ["name:x?timeline=12", { kind: "name", name: "x", timeline: 12 }],
    ["latest?timeline=4294967295", { kind: "latest", timeline: 4_294_967_295 }],
    ["immediate?timeline=1", { kind: "immediate", timeline: 1 }],
    ["-15m?exclusive", { kind: "before-now", seconds: 900, exclusive: true }],
    [
      "2026-01-25T14:30:00Z?exclusive?timeline=3",
      { kind: "time", micros: micros("2026-01-25T14:30:00Z"), exclusive: true, timeline: 3 },
    ],
  ])("%s is a point with its options", (text, expected) => {
    expect(parseTarget(text)).toEqual(expected);
  });

  test.each([
    ["2026-01-25T14:30:00", /has no time zone: write "2026-01-25T14:30:00Z"/],
    ["2026-01-25 14:30", /has no time zone: write "2026-01-25 14:30Z"/],
    ["2026-02-30T00:00:00Z", /does not exist/],
    ["2026-13-01T00:00:00Z", /does not exist/],
    ["2026-01-25T24:00:00Z", /does not exist/],
    ["2026-01-25T23:59:60Z", /does not exist/],
    ["2026-01-25T14:30:00+99:00", /does not exist/],
    ["9999-12-31T23:59:59-01:00", /does not exist/],
    ["0000-01-01T00:00:00Z", /does not exist/],
    ["2026-01-25T14:30:00 CEST", /not understood.*latest, immediate/],
    ["2026-01-25T14:30:00+02:75", /not understood/],
    ["2026-01-25", /not understood/],
    ["yesterday", /not understood/],
    ["Latest", /not understood/],
    ["15m", /not understood.*-15m/],
    ["-0s", /not understood/],
    ["-", /not understood/],
    ["", /not understood/],
    ["1769351400", /not understood/],
    ["lsn:", /no position in the WAL/],
    ["lsn:0/0", /no position in the WAL/],
    ["lsn:1A2B3C4D", /no position in the WAL/],
    ["lsn:0/123456789", /no position in the WAL/],
    ["xid:abc", /"xid:abc" is no transaction/],
    ["xid:2", /no transaction/],
    ["xid:-5", /no transaction/],
    ["xid:18446744073709551616", /no transaction/],
    ["xid:7e3", /no transaction/],
    ["name:", /lacks the name/],
    [`name:${"x".repeat(64)}`, /at most 63 bytes/],
    [`name:${"\u00fc".repeat(32)}`, /at most 63 bytes/],
    ["latest?exclusive", /cannot be exclusive/],
    ["immediate?exclusive", /cannot be exclusive/],
    ["name:x?exclusive", /cannot be exclusive/],
    ["latest?timeline=0", /timelines begin at 1/],
    ["latest?timeline=4294967296", /timelines begin at 1/],
    ["latest?timeline=1?timeline=2", /two timelines/],
    ["latest?timeline=one", /not understood/],
    ["latest?exklusive", /not understood/],
  ])("%j is refused with what is allowed", (text, message) => {
    expect(() => parseTarget(text)).toThrow(UserError);
    expect(() => parseTarget(text)).toThrow(message);
  });
});

test.each([
  ["2026-01-25T14:30:00.123456Z", "2026-01-25 14:30:00.123456+00"],
  ["2026-01-25T14:30:00+02:00", "2026-01-25 12:30:00.000000+00"],
  ["1969-12-31T23:59:59.999999Z", "1969-12-31 23:59:59.999999+00"],
  ["1900-01-01T00:00:00.000001Z", "1900-01-01 00:00:00.000001+00"],
])("%s is spelled %s for PostgreSQL", (text, spelled) => {
  expect(formatMicros(parseTime(text) ?? 0n)).toBe(spelled);
});
