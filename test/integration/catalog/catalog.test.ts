import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { listBackupIds, listBackups, readBackup } from "../../../src/catalog/backups.ts";
import { claimCluster, readClusterIdentity } from "../../../src/catalog/cluster.ts";
import { encodeDocument } from "../../../src/catalog/documents.ts";
import { readHeartbeat, writeHeartbeat } from "../../../src/catalog/heartbeat.ts";
import {
  clusterKey,
  heartbeatKey,
  historyKey,
  manifestKey,
  objectKey,
  partialSidecarKey,
  segmentKey,
  sidecarKey,
} from "../../../src/catalog/layout.ts";
import { segmentName } from "../../../src/catalog/lsn.ts";
import {
  chainEnd,
  chainFrom,
  findSegment,
  listSegments,
  missingAfter,
  newestRestorePoint,
  readSidecar,
  readSidecarOf,
  wholeSegments,
} from "../../../src/catalog/wal.ts";
import { DefectError, UserError } from "../../../src/errors.ts";
import { openStore } from "../../../src/stores/open.ts";
import { readAll, type Store } from "../../../src/stores/store.ts";
import { type TestContext, testContext } from "../../support/context.ts";
import { MIB, manifestOf, type Planting, planting } from "./planting.ts";

let context: TestContext;
let store: Store;

beforeEach(async () => {
  context = await testContext();
  store = await openStore({ type: "file", path: join(context.workDir, "store") }, "local", context);
});
afterEach(async () => {
  store.close();
  await context[Symbol.asyncDispose]();
});

const planted = () => planting(store);
const write: Planting["write"] = (...args) => planted().write(...args);
const plantBackup: Planting["plantBackup"] = (...args) => planted().plantBackup(...args);
const plantSegment: Planting["plantSegment"] = (...args) => planted().plantSegment(...args);
const plantPartial: Planting["plantPartial"] = (...args) => planted().plantPartial(...args);
const keys: Planting["keys"] = (...args) => planted().keys(...args);

describe("backups", () => {
  test("are listed oldest first, and only those that have a manifest", async () => {
    const newer = await plantBackup("000001", 1);
    const older = await plantBackup("000002", 2);
    await write(objectKey("db", "20260125T120000Z-abcdef", "base.tar.zst"), "unfinished");
    await write("db/backups/notes.txt", "mine");
    await write(
      manifestKey("db2", newer),
      encodeDocument({ ...manifestOf(newer, new Date()), component: "db2" }),
    );
    expect((await listBackups(store, "db")).map((backup) => backup.id)).toEqual([older, newer]);
    expect(await listBackupIds(store, "db")).toEqual([older, newer]);
    expect(await listBackups(store, "other")).toEqual([]);
    expect((await readBackup(store, "db", older)).id).toBe(older);
  });

  test.each([
    ["is cut off", '{ "schema": "drillbook/backup-', /is not JSON/],
    ["lacks a field", '{ "schema": "drillbook/backup-manifest/v1" }', /cannot be understood: \w+:/],
    [
      "is of a later version",
      JSON.stringify({ ...manifestOf("x", new Date()), schema: "drillbook/backup-manifest/v9" }),
      /cannot be understood: schema:/,
    ],
    [
      "belongs to another backup",
      JSON.stringify(manifestOf("20200101T000000Z-000000", new Date())),
      /describes the backup 20200101T000000Z-000000 of db: it was copied or renamed/,
    ],
  ])("with a manifest that %s are a defect that names it", async (_what, content, message) => {
    const id = "20260125T120000Z-abcdef";
    await write(manifestKey("db", id), content);
    for (const read of [() => listBackups(store, "db"), () => readBackup(store, "db", id)]) {
      const error = await read().catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(DefectError);
      expect((error as DefectError).subject).toBe(store.describe(manifestKey("db", id)));
      expect((error as DefectError).message).toMatch(message);
    }
  });

  test("that do not exist are named together with those that do", async () => {
    await expect(readBackup(store, "db", "20260125T120000Z-abcdef")).rejects.toThrow(
      new UserError(
        'There is no backup "20260125T120000Z-abcdef" of db, and no other: run the backup action first.',
      ),
    );
    const id = await plantBackup("000001", 1);
    await expect(readBackup(store, "db", "../../etc")).rejects.toThrow(`the newest are ${id}.`);
  });
});

describe("the cluster's identity", () => {
  test("is claimed once, and refuses another cluster without writing", async () => {
    expect(await readClusterIdentity(store, "db")).toBeUndefined();
    await claimCluster(store, "db", "111");
    await claimCluster(store, "db", "111");
    const before = await keys();
    const error = await claimCluster(store, "db", "222").catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(DefectError);
    expect((error as Error).message).toMatch(
      /system identifier 111, but this server is 222: give the new cluster another component name/,
    );
    expect(await keys()).toEqual(before);
    expect(await readClusterIdentity(store, "db")).toBe("111");
  });

  test("goes to exactly one of two clusters that claim it at the same time", async () => {
    const claims = await Promise.allSettled(
      ["111", "222"].map((identifier) => claimCluster(store, "db", identifier)),
    );
    expect(claims.map((claim) => claim.status).sort()).toEqual(["fulfilled", "rejected"]);
  });

  test("that cannot be read is a defect, not a free place", async () => {
    await write(clusterKey("db"), "{}");
    await expect(claimCluster(store, "db", "111")).rejects.toThrow(DefectError);
  });
});

test("a heartbeat is replaced by the next", async () => {
  expect(await readHeartbeat(store, "db")).toBeUndefined();
  const beat = {
    component: "db",
    kind: "full" as const,
    finishedAt: "2026-01-25T12:00:00.000Z",
    backupId: "20260125T120000Z-abcdef",
    lastSegment: null,
    recoverableUntil: null,
  };
  await writeHeartbeat(store, beat);
  await writeHeartbeat(store, { ...beat, kind: "wal", backupId: null });
  expect(await readHeartbeat(store, "db")).toMatchObject({ kind: "wal", backupId: null });
  expect(await keys()).toEqual([heartbeatKey("db")]);
});

describe("WAL", () => {
  test("counts a segment only when it and its sidecar are there", async () => {
    const [one, two, three] = [await plantSegment(1, 1), await plantSegment(1, 2), await plantSegment(1, 3)];
    await store.delete([sidecarKey("db", two)]);
    await store.delete([segmentKey("db", three, false)]);
    await write("db/wal/00000001/readme.txt", "mine");
    const inventory = await listSegments(store, "db", MIB);
    expect([...inventory.segments.keys()]).toEqual([one]);
    expect([...inventory.unfinished].sort()).toEqual([two, three]);
    expect(chainFrom(inventory, BigInt(MIB), 1).map((segment) => segment.name)).toEqual([one]);
  });

  test("gives the newest restore point of a chain, wherever in it that lies", async () => {
    for (let number = 1; number <= 40; number += 1) {
      await plantSegment(1, number, number === 3 || number === 5 ? `point ${number}` : undefined);
    }
    const chain = chainFrom(await listSegments(store, "db", MIB), BigInt(MIB), 1);
    expect(chain).toHaveLength(40);
    const newest = await newestRestorePoint(store, "db", chain);
    expect([newest?.point.name, newest?.segment.number]).toEqual(["point 5", 5]);
    expect((await newestRestorePoint(store, "db", chain.slice(0, 4)))?.point.name).toBe("point 3");
    expect(await newestRestorePoint(store, "db", chain.slice(0, 2))).toBeUndefined();
    expect(await newestRestorePoint(store, "db", [])).toBeUndefined();
  });

  test("with a damaged sidecar or history file is a defect that names it", async () => {
    const segment = await plantSegment(1, 1);
    await store.delete([sidecarKey("db", segment)]);
    await write(sidecarKey("db", segment), encodeDocument(otherThan(segment)));
    const error = await readSidecar(store, "db", segment).catch((caught: unknown) => caught);
    expect((error as DefectError).subject).toBe(store.describe(sidecarKey("db", segment)));
    expect((error as Error).message).toMatch(
      /describes the segment 000000010000000000000009: it was copied or renamed/,
    );

    await write(historyKey("db", 2), "not a history");
    await expect(listSegments(store, "db", MIB)).rejects.toThrow(
      /00000002\.history is not a timeline history file/,
    );
  });

  function otherThan(segment: string): unknown {
    return {
      schema: "drillbook/wal-segment/v1",
      segment: segment.replace(/1$/, "9"),
      systemIdentifier: "7",
      sha256: "00",
      bytes: MIB,
      archivedAt: "2026-01-25T12:00:00Z",
    };
  }
});

describe("partial segments", () => {
  test("the longest that counts is the end of a chain, and never stands in its middle", async () => {
    for (const number of [1, 2, 4]) await plantSegment(1, number);
    await plantPartial(1, 3, 8192);
    await plantPartial(1, 3, 40_960);
    await plantPartial(1, 5, 8192);
    // A longer one whose upload was broken off does not count.
    const [, packed = ""] = await plantPartial(1, 3, 65_536);
    await store.delete([packed]);
    const inventory = await listSegments(store, "db", MIB);
    const chain = chainFrom(inventory, BigInt(MIB), 1);
    expect(chain.map((segment) => [segment.number, segment.partial?.bytes])).toEqual([
      [1, undefined],
      [2, undefined],
      [3, 40_960],
    ]);
    expect(chainEnd(chain, MIB)).toBe(BigInt(3 * MIB + 40_960));
    expect(wholeSegments(chain)).toHaveLength(2);
    expect(missingAfter(inventory, BigInt(MIB), 1)).toBe(segmentName(1, 3, MIB));
    expect(inventory.unfinished).toEqual([]);
  });

  test("a whole segment goes before its partials", async () => {
    const whole = await plantSegment(1, 1);
    await plantPartial(1, 1, 8192);
    const chain = chainFrom(await listSegments(store, "db", MIB), BigInt(MIB), 1);
    expect(chain.map((segment) => segment.partial)).toEqual([undefined]);
    expect((await findSegment(store, "db", whole, MIB))?.partial).toBeUndefined();
  });

  test("a partial of an older timeline ends no chain of a younger one", async () => {
    await plantSegment(1, 1);
    await plantPartial(1, 2, 8192);
    await write(historyKey("db", 2), `1\t0/500000\tx\n`);
    await plantSegment(2, 5);
    const inventory = await listSegments(store, "db", MIB);
    const numbers = (target: number) => chainFrom(inventory, BigInt(MIB), 1, target).map((one) => one.number);
    expect(numbers(1)).toEqual([1, 2]);
    expect(numbers(2)).toEqual([1]);
  });

  test("a sidecar that was copied from another partial is a defect", async () => {
    const segment = segmentName(1, 1, MIB);
    const [sidecar = ""] = await plantPartial(1, 1, 8192);
    const bytes = await readAll(await store.get(sidecar));
    await write(partialSidecarKey("db", segment, 16_384), bytes);
    await expect(readSidecarOf(store, "db", { name: segment, partial: { bytes: 16_384 } })).rejects.toThrow(
      /describes 8192 bytes of the segment, but its name says 16384/,
    );
  });
});
