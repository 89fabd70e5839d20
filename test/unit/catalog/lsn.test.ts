import { expect, test } from "vitest";
import {
  formatLsn,
  lsn,
  parseLsn,
  parseSegmentName,
  segmentAt,
  segmentBefore,
  segmentName,
  segmentStart,
} from "../../../src/catalog/lsn.ts";

const MIB = 2 ** 20;

test.each(["0/0", "0/3000028", "1/0", "A/FFFFFFFF", "FFFFFFFF/FFFFFFFF"])(
  "the position %s is read and printed",
  (text) => {
    expect(formatLsn(lsn(text))).toBe(text);
  },
);

test.each(["", "0", "0/", "/1", "0/G", "0/123456789", " 0/1", "0x1/2"])("%j is no position", (text) => {
  expect(parseLsn(text)).toBeUndefined();
  expect(() => lsn(text)).toThrow("is not a WAL position");
});

test("names of segments are those of PostgreSQL", () => {
  // SELECT pg_walfile_name('1/FF000000') on timeline 1 and a cluster with 16 MiB segments.
  expect(segmentName(1, segmentAt(lsn("1/FF000000"), 16 * MIB), 16 * MIB)).toBe("0000000100000001000000FF");
  expect(segmentName(1, segmentAt(lsn("2/0"), 16 * MIB), 16 * MIB)).toBe("000000010000000200000000");
  expect(segmentName(255, segmentAt(lsn("0/12345678"), MIB), MIB)).toBe("000000FF0000000000000123");
  expect(segmentName(2, segmentAt(lsn("3/40000000"), 1024 * MIB), 1024 * MIB)).toBe(
    "000000020000000300000001",
  );
});

test.each([1, 16, 64, 1024])("names are read back with segments of %i MiB", (mib) => {
  const bytes = mib * MIB;
  for (const number of [0, 1, 2 ** 32 / bytes - 1, 2 ** 32 / bytes, 12_345]) {
    expect(parseSegmentName(segmentName(7, number, bytes), bytes)).toEqual({ timeline: 7, number });
  }
});

test("a name that no segment of this size can have is none", () => {
  expect(parseSegmentName("000000010000000000000100", 16 * MIB)).toBeUndefined();
  expect(parseSegmentName("000000010000000000000100", MIB)).toBeDefined();
  expect(parseSegmentName("00000001000000000000001", MIB)).toBeUndefined();
  expect(parseSegmentName("00000001000000000000000g", MIB)).toBeUndefined();
});

test("the end of a record at a segment's first byte belongs to the segment before", () => {
  const start = segmentStart(5, MIB);
  expect(segmentAt(start, MIB)).toBe(5);
  expect(segmentBefore(start, MIB)).toBe(4);
  expect(segmentBefore(start + 1n, MIB)).toBe(5);
  expect(segmentBefore(0n, MIB)).toBe(0);
});
