import { describe, expect, test } from "vitest";
import {
  backupId,
  clusterKey,
  drillKey,
  heartbeatKey,
  historyKey,
  isBackupId,
  manifestId,
  manifestKey,
  objectKey,
  parseWalKey,
  partialKey,
  partialSidecarKey,
  segmentKey,
  segmentPrefix,
  sidecarKey,
} from "../../../src/catalog/layout.ts";

const SEGMENT = "0000000A00000001000000FF";

test("a backup id names the second and sorts by time", () => {
  const random = Buffer.from("abcdef12", "hex");
  const id = backupId(new Date("2026-01-25T12:00:00.987Z"), random);
  expect(id).toBe("20260125T120000Z-abcdef");
  expect(isBackupId(id)).toBe(true);
  const later = backupId(new Date("2026-01-25T12:00:01Z"), Buffer.from("000000", "hex"));
  expect(id < later).toBe(true);
});

test.each(["20260125T120000Z-abcde", "20260125T120000Z-ABCDEF", "../20260125T120000Z-abcdef", "latest", ""])(
  "%j is no backup id",
  (text) => {
    expect(isBackupId(text)).toBe(false);
  },
);

test("objects lie where the documented layout says", () => {
  expect(manifestKey("db", "20260125T120000Z-abcdef")).toBe(
    "db/backups/20260125T120000Z-abcdef/manifest.json",
  );
  expect(objectKey("db", "20260125T120000Z-abcdef", "base.tar.zst.age")).toBe(
    "db/backups/20260125T120000Z-abcdef/base.tar.zst.age",
  );
  expect(segmentKey("db", SEGMENT, true)).toBe(`db/wal/0000000A/${SEGMENT}.zst.age`);
  expect(segmentKey("db", SEGMENT, false)).toBe(`db/wal/0000000A/${SEGMENT}.zst`);
  expect(sidecarKey("db", SEGMENT)).toBe(`db/wal/0000000A/${SEGMENT}.json`);
  expect(partialKey("db", SEGMENT, 0xabc00, true)).toBe(
    `db/wal/0000000A/${SEGMENT}.000ABC00.partial.zst.age`,
  );
  expect(partialSidecarKey("db", SEGMENT, 0xabc00)).toBe(`db/wal/0000000A/${SEGMENT}.000ABC00.partial.json`);
  expect(historyKey("db", 10)).toBe("db/wal/0000000A/0000000A.history");
  expect(clusterKey("db")).toBe("db/cluster.json");
  expect(heartbeatKey("db")).toBe("db/heartbeat.json");
  expect(drillKey("x")).toBe("drills/x.json");
});

test("only a manifest's key gives a backup id", () => {
  const id = "20260125T120000Z-abcdef";
  expect(manifestId("db", manifestKey("db", id))).toBe(id);
  expect(manifestId("db", objectKey("db", id, "base.tar.zst"))).toBeUndefined();
  expect(manifestId("db", manifestKey("db2", id))).toBeUndefined();
  expect(manifestId("db", "db/backups/mine/manifest.json")).toBeUndefined();
  expect(manifestId("db", `db/backups/${id}/more/manifest.json`)).toBeUndefined();
});

describe("a key below wal/", () => {
  test("is read back as what it names", () => {
    expect(parseWalKey("db", segmentKey("db", SEGMENT, true))).toEqual({
      kind: "segment",
      segment: SEGMENT,
      sealed: true,
    });
    expect(parseWalKey("db", segmentKey("db", SEGMENT, false))).toEqual({
      kind: "segment",
      segment: SEGMENT,
      sealed: false,
    });
    expect(parseWalKey("db", sidecarKey("db", SEGMENT))).toEqual({ kind: "sidecar", segment: SEGMENT });
    expect(parseWalKey("db", partialKey("db", SEGMENT, 8192, false))).toEqual({
      kind: "partial",
      segment: SEGMENT,
      bytes: 8192,
      sealed: false,
    });
    expect(parseWalKey("db", partialSidecarKey("db", SEGMENT, 8192))).toEqual({
      kind: "partial-sidecar",
      segment: SEGMENT,
      bytes: 8192,
    });
    expect(parseWalKey("db", historyKey("db", 3))).toEqual({ kind: "history", timeline: 3 });
  });

  test("starts with the segment's prefix, whole or partial, and partials come first in their order", () => {
    const inOrder = [
      partialSidecarKey("db", SEGMENT, 8192),
      partialKey("db", SEGMENT, 0xa0000, true),
      sidecarKey("db", SEGMENT),
      segmentKey("db", SEGMENT, true),
    ];
    expect(inOrder.toSorted()).toEqual(inOrder);
    expect(inOrder.every((key) => key.startsWith(segmentPrefix("db", SEGMENT)))).toBe(true);
  });

  test.each([
    `db/wal/00000001/${SEGMENT}.zst`,
    `db/wal/${SEGMENT}.zst`,
    `db/wal/0000000A/${SEGMENT}`,
    `db/wal/0000000A/${SEGMENT}.partial`,
    `db/wal/0000000A/${SEGMENT}.partial.zst`,
    `db/wal/0000000A/${SEGMENT}.2000.partial.zst`,
    `db/wal/0000000A/${SEGMENT}.00002000.zst`,
    `db/wal/00000001/${SEGMENT}.00002000.partial.json`,
    `db/wal/0000000A/${SEGMENT}.zst.age.tmp`,
    "db/wal/0000000A/00000001.history",
    "db/wal/notes.txt",
    `other/wal/0000000A/${SEGMENT}.zst`,
  ])("%s is not ours", (key) => {
    expect(parseWalKey("db", key)).toBeUndefined();
  });
});
