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
    expect(parseTarget(text)).toEqual({ kind: "before-now", seconds });
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
    expect(parseTarget(text)).toEqual({ kind: "time", micros: expected });
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
