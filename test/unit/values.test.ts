import { describe, expect, test } from "vitest";
import { formatBytes, formatDuration, parseDuration, parseSize } from "../../src/values.ts";

test.each([
  ["45s", 45],
  ["10m", 600],
  ["4h", 14_400],
  ["30d", 2_592_000],
  ["1h30m", 5_400],
  ["1d2h3m4s", 93_784],
  ["90m", 5_400],
  ["0s", 0],
])("the duration %s is %i seconds", (text, seconds) => expect(parseDuration(text)).toBe(seconds));

test.each([
  "",
  "5",
  "s",
  "1.5h",
  "-5m",
  "30m1h",
  "5m5m",
  "1w",
  "5 m",
  "1H",
  " 5m",
  "5m\n",
  "999999999999999d",
])("%j is no duration", (text) => expect(parseDuration(text)).toBeUndefined());

test.each([
  ["512MiB", 536_870_912],
  ["2GB", 2_000_000_000],
  ["1.5 KiB", 1_536],
  ["4096B", 4_096],
  ["1kB", 1_000],
  ["1TiB", 1_099_511_627_776],
])("the size %s is %i bytes", (text, bytes) => expect(parseSize(text)).toBe(bytes));

test.each(["", "5", "MB", "5 mb", "-1B", "1iB", "1GiBs", "1.B", "9999999TiB"])("%j is no size", (text) =>
  expect(parseSize(text)).toBeUndefined(),
);

describe("bytes", () => {
  test.each([
    [0, "0 B"],
    [1_023, "1023 B"],
    [1_024, "1.00 KiB"],
    [10_239, "10.0 KiB"],
    [102_399, "100 KiB"],
    [1_048_575, "1.00 MiB"],
    [1_395_864_371, "1.30 GiB"],
    [2 ** 60, "1024 PiB"],
  ])("%i are %s", (bytes, text) => expect(formatBytes(bytes)).toBe(text));
});

describe("a duration", () => {
  test.each([
    [0, "0 s"],
    [0.000_004, "1 ms"],
    [0.0039, "4 ms"],
    [0.44, "440 ms"],
    [0.999, "999 ms"],
    [0.9996, "1.0 s"],
    [5, "5 s"],
    [41.78, "41.8 s"],
    [59.94, "59.9 s"],
    [59.96, "1 min"],
    [119.7, "2 min"],
    [725, "12 min 5 s"],
    [12_000, "3 h 20 min"],
    [10_805, "3 h"],
    [187_200, "2 d 4 h"],
    [-5, "-5 s"],
    [-725, "-12 min 5 s"],
    [Number.POSITIVE_INFINITY, "unknown"],
    [Number.NaN, "unknown"],
  ])("of %d seconds is %s", (seconds, text) => expect(formatDuration(seconds)).toBe(text));
});
