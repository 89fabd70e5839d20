import { expect, test } from "vitest";
import { lsn, segmentName } from "../../../src/catalog/lsn.ts";
import { isOnPath, parseHistory, rootTimeline, timelineOfSegment } from "../../../src/catalog/timelines.ts";
import {
  chainFrom,
  missingAfter,
  timelinesFrom,
  type WalInventory,
  type WalSegment,
} from "../../../src/catalog/wal.ts";

const MIB = 2 ** 20;
const HISTORY = '1\t0/500100\tno recovery target specified\n\n2\t0/800000\tat restore point "x"\n';

function inventoryOf(
  names: readonly [timeline: number, number: number][],
  histories: WalInventory["histories"] = new Map(),
): WalInventory {
  const segments = new Map<string, WalSegment>();
  for (const [timeline, number] of names) {
    const name = segmentName(timeline, number, MIB);
    segments.set(name, {
      name,
      timeline,
      number,
      key: name,
      sealed: false,
      storedBytes: 1,
      modified: new Date(0),
    });
  }
  return { segmentBytes: MIB, segments, histories, partials: new Map(), unfinished: [] };
}

function shape(chain: readonly WalSegment[]): [number, number][] {
  return chain.map((segment) => [segment.timeline, segment.number]);
}

const path = parseHistory(3, HISTORY) ?? rootTimeline(3);

test("a history file names the ancestors and where they were left", () => {
  expect(path).toEqual({
    timeline: 3,
    ancestors: [
      { timeline: 1, end: lsn("0/500100") },
      { timeline: 2, end: lsn("0/800000") },
    ],
  });
});

test.each(["", "# nothing\n", "one\t0/1\tx", "1\tzero\tx", "2\t0/1\tx\n1\t0/2\tx", "3\t0/1\tx", "0\t0/1\tx"])(
  "the history %j is damaged",
  (text) => {
    expect(parseHistory(3, text)).toBeUndefined();
  },
);

test("the segment in which a timeline was left is read from its child", () => {
  expect([4, 5, 7, 8, 9].map((number) => timelineOfSegment(path, number, MIB))).toEqual([1, 2, 2, 3, 3]);
});

test("a position is on the path only before its timeline was left", () => {
  expect(isOnPath(path, 1, lsn("0/500000"))).toBe(true);
  expect(isOnPath(path, 1, lsn("0/600000"))).toBe(false);
  expect(isOnPath(path, 2, lsn("0/600000"))).toBe(true);
  expect(isOnPath(path, 3, lsn("0/900000"))).toBe(true);
  expect(isOnPath(path, 3, lsn("0/100000"))).toBe(false);
  expect(isOnPath(path, 4, lsn("0/900000"))).toBe(false);
});

test("a chain ends before the first gap", () => {
  const inventory = inventoryOf([
    [1, 2],
    [1, 3],
    [1, 5],
    [1, 6],
  ]);
  expect(shape(chainFrom(inventory, lsn("0/200028"), 1))).toEqual([
    [1, 2],
    [1, 3],
  ]);
  expect(missingAfter(inventory, lsn("0/200028"), 1)).toBe(segmentName(1, 4, MIB));
  expect(shape(chainFrom(inventory, lsn("0/400000"), 1))).toEqual([]);
  expect(missingAfter(inventory, lsn("0/400000"), 1)).toBe(segmentName(1, 4, MIB));
});

test("a chain never jumps to another timeline by itself", () => {
  const inventory = inventoryOf([
    [1, 2],
    [1, 3],
    [2, 4],
  ]);
  expect(shape(chainFrom(inventory, lsn("0/200028"), 1))).toEqual([
    [1, 2],
    [1, 3],
  ]);
  expect(chainFrom(inventory, lsn("0/200028"), 2)).toEqual([]);
});

test("a chain to another timeline follows its history", () => {
  const histories = new Map([[3, path]]);
  const inventory = inventoryOf(
    [
      [1, 3],
      [1, 4],
      [1, 5],
      [2, 5],
      [2, 6],
      [2, 7],
      [2, 8],
      [3, 8],
      [3, 9],
    ],
    histories,
  );
  expect(shape(chainFrom(inventory, lsn("0/300028"), 1, 3))).toEqual([
    [1, 3],
    [1, 4],
    [2, 5],
    [2, 6],
    [2, 7],
    [3, 8],
    [3, 9],
  ]);
  expect(shape(chainFrom(inventory, lsn("0/300028"), 1))).toEqual([
    [1, 3],
    [1, 4],
    [1, 5],
  ]);
  expect(timelinesFrom(inventory, lsn("0/300028"), 1)).toEqual([1, 3]);
});

test("a timeline that left before the backup cannot be reached from it", () => {
  const histories = new Map([[3, path]]);
  const inventory = inventoryOf(
    [
      [1, 6],
      [1, 7],
      [3, 8],
    ],
    histories,
  );
  expect(chainFrom(inventory, lsn("0/600028"), 1, 3)).toEqual([]);
  expect(timelinesFrom(inventory, lsn("0/600028"), 1)).toEqual([1]);
});
