import { describe, expect, test } from "vitest";
import { parseHistory, rootTimeline } from "../../../../src/catalog/timelines.ts";
import {
  readSegmentHeader,
  readWalMessage,
  statusUpdate,
} from "../../../../src/postgres/wal/wal-messages.ts";
import { legsFrom } from "../../../../src/postgres/wal/wal-plan.ts";

const MIB = 2 ** 20;

describe("a message of the WAL stream", () => {
  test("with data gives its position and bytes", () => {
    const message = Buffer.concat([Buffer.from("w"), Buffer.alloc(24), Buffer.from("wal")]);
    message.writeBigUInt64BE(0x1_0000_0028n, 1);
    expect(readWalMessage(message)).toEqual({
      kind: "data",
      start: 0x1_0000_0028n,
      data: Buffer.from("wal"),
    });
  });

  test.each([
    [1, true],
    [0, false],
  ])("that keeps alive asks for a reply by its last byte %i", (byte, replyNow) => {
    const message = Buffer.concat([Buffer.from("k"), Buffer.alloc(16), Buffer.from([byte])]);
    expect(readWalMessage(message)).toEqual({ kind: "keepalive", replyNow });
  });

  test("of an unknown type is none", () => {
    expect(readWalMessage(Buffer.from("z"))).toBeUndefined();
  });
});

test("a status update confirms one position as written, flushed and applied", () => {
  const message = statusUpdate("1/28");
  expect(message.length).toBe(34);
  expect(message.toString("latin1", 0, 1)).toBe("r");
  for (const offset of [1, 9, 17]) expect(message.readBigUInt64BE(offset)).toBe(0x1_0000_0028n);
  expect(message[33]).toBe(0);
});

describe("a segment's header", () => {
  const header = Buffer.alloc(40);
  header.writeUInt16LE(0xd118, 0);
  header.writeUInt16LE(0x0006, 2);
  header.writeBigUInt64LE(0x3000000n, 8);
  header.writeBigUInt64LE(7_710_318_581_991_343_853n, 24);
  header.writeUInt32LE(16 * MIB, 32);

  test("names its position, its cluster and its size", () => {
    expect(readSegmentHeader(header)).toEqual({
      pageAddress: 0x3000000n,
      systemIdentifier: "7710318581991343853",
      segmentBytes: 16 * MIB,
    });
  });

  test("is not found in zeros or in the middle of a segment", () => {
    expect(readSegmentHeader(Buffer.alloc(40))).toBeUndefined();
    const short = Buffer.from(header);
    short.writeUInt16LE(0, 2);
    expect(readSegmentHeader(short)).toBeUndefined();
  });
});

test("a pull goes through all timelines that the server left behind", () => {
  const path = parseHistory(3, "1\t0/500100\tx\n2\t0/800000\tx\n") ?? rootTimeline(3);
  expect(legsFrom(path, 3, MIB)).toEqual([
    { timeline: 1, first: 3, last: 4 },
    { timeline: 2, first: 5, last: 7 },
    { timeline: 3, first: 8, last: Number.POSITIVE_INFINITY },
  ]);
  expect(legsFrom(path, 6, MIB).map((leg) => leg.timeline)).toEqual([2, 3]);
  expect(legsFrom(path, 9, MIB)).toEqual([{ timeline: 3, first: 9, last: Number.POSITIVE_INFINITY }]);
  expect(legsFrom(rootTimeline(1), 0, MIB)).toEqual([
    { timeline: 1, first: 0, last: Number.POSITIVE_INFINITY },
  ]);
});
