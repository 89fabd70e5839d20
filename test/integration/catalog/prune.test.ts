import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { listBackupIds, listBackups } from "../../../src/catalog/backups.ts";
import {
  backupPrefix,
  drillKey,
  historyKey,
  manifestKey,
  objectKey,
  verificationKey,
} from "../../../src/catalog/layout.ts";
import type { BackupManifest } from "../../../src/catalog/manifest.ts";
import { type PruneRequest, prune } from "../../../src/catalog/prune.ts";
import { recordVerification } from "../../../src/catalog/verifications.ts";
import { listSegments } from "../../../src/catalog/wal.ts";
import { ToolError } from "../../../src/errors.ts";
import { openStore } from "../../../src/stores/open.ts";
import { DeletionRefused, type Store } from "../../../src/stores/store.ts";
import { type TestContext, testContext } from "../../support/context.ts";
import { sampleRecord } from "../../unit/report/sample.ts";
import { DAY_MS, MIB, type Planting, planting } from "./planting.ts";

const policy = { keepSeconds: 30 * 86_400, minimum: 1 };

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

function walStart(manifest: BackupManifest) {
  const { firstSegment } = manifest.details as { firstSegment: number };
  return { timeline: 1, number: firstSegment, segmentBytes: MIB };
}

async function pruneNow(request: Partial<PruneRequest> = {}, from: Store = store) {
  return await prune(from, "db", { policy, now: new Date(), walStart, dryRun: false, ...request });
}

async function verify(id = ""): Promise<void> {
  await recordVerification(store, "db", { backupId: id, depth: "checksums", at: "2026-01-26T03:00:00Z" });
}

/** A drill of so many days ago that recovered a backup. */
async function drill(daysAgo: number, backupId: string, verdict: "passed" | "failed", component = "db") {
  const time = new Date(Date.now() - daysAgo * DAY_MS).toISOString().replace(/[-:]|\.\d+/g, "");
  const id = `${time}-${String(daysAgo).padStart(6, "0")}`;
  const reached = { lsn: "0/1", time: null, timeline: 1, lastCommitBefore: null, firstCommitAfter: null };
  const recoveries = [{ component, backupId, target: "latest", reached }];
  await write(drillKey(id), JSON.stringify(sampleRecord({ id, verdict, recoveries })));
  return id;
}

/** The store as it answers to a deletion of some keys while they are locked. */
function locked(matches: (key: string) => boolean): Store {
  return {
    ...store,
    delete: async (keys, signal) => {
      for (const key of keys) {
        if (matches(key)) throw new DeletionRefused(`${key} is locked.`);
        await store.delete([key], signal);
      }
    },
  };
}

test("deletes an old backup and the WAL before the oldest that stays, and nothing else", async () => {
  const old = await plantBackup("000001", 60, 1);
  const kept = await plantBackup("000002", 20, 3);
  const newest = await plantBackup("000003", 1, 5);
  const segments: string[] = [];
  for (let number = 1; number <= 6; number += 1) segments.push(await plantSegment(1, number));
  const otherTimeline = await plantSegment(2, 1);
  await write(historyKey("db", 2), "1\t0/100000\tx\n");
  await write(`db/backups/${old}/mine.txt`, "not ours");
  await write("db/wal/00000001/mine.txt", "not ours");

  await verify(newest);
  expect(await pruneNow()).toMatchObject({ backups: [old], segments: 2, refusals: [] });
  expect((await listBackups(store, "db")).map((backup) => backup.id)).toEqual([kept, newest]);
  const inventory = await listSegments(store, "db", MIB);
  expect([...inventory.segments.keys()].sort()).toEqual([...segments.slice(2), otherTimeline].sort());
  expect(inventory.unfinished).toEqual([]);
  expect(inventory.histories.size).toBe(1);
  const left = await keys();
  expect(left).toContain(`db/backups/${old}/mine.txt`);
  expect(left).toContain("db/wal/00000001/mine.txt");
  expect(left.filter((key) => key.includes(old))).toHaveLength(1);
});

test("deletes partials before the oldest backup, and beside their whole segment, but not the archive's end", async () => {
  await plantBackup("000001", 1, 5);
  for (let number = 1; number <= 6; number += 1) await plantSegment(1, number);
  const old = await plantPartial(1, 3, 8192);
  const beside = [...(await plantPartial(1, 6, 8192)), ...(await plantPartial(1, 6, 16384))];
  const end = await plantPartial(1, 7, 8192);
  const otherTimeline = await plantPartial(2, 3, 8192);
  await pruneNow();
  const left = await keys();
  expect(left).toEqual(expect.arrayContaining([...end, ...otherTimeline]));
  expect(left.filter((key) => [...old, ...beside].includes(key))).toEqual([]);
  expect((await listSegments(store, "db", MIB)).segments.size).toBe(2);
});

test("deletes nothing while the newest backup is not whole", async () => {
  await plantBackup("000001", 60);
  const newest = await plantBackup("000002", 1);
  const key = objectKey("db", newest, "base.tar.zst");
  await store.delete([key]);
  const before = await keys();
  await expect(pruneNow()).rejects.toThrow(
    new ToolError(
      `Nothing was deleted by retention, because the newest backup ${newest} is not whole: ${store.describe(key)} is absent. Take a new backup.`,
    ),
  );
  await write(key, "too long");
  await expect(pruneNow()).rejects.toThrow(/has 8 bytes instead of 4/);
  expect((await keys()).filter((each) => each !== key)).toEqual(before);
});

test("keeps the minimum and the newest, however old they are", async () => {
  const ids = [
    await plantBackup("000001", 90),
    await plantBackup("000002", 80),
    await plantBackup("000003", 70),
  ];
  await verify(ids[2]);
  expect((await pruneNow({ policy: { ...policy, minimum: 3 } })).backups).toEqual([]);
  expect((await pruneNow({ policy: { ...policy, minimum: 2 } })).backups).toEqual([ids[0]]);
  expect((await pruneNow({ policy: { ...policy, minimum: 0 } })).backups).toEqual([ids[1]]);
  expect(await listBackupIds(store, "db")).toEqual([ids[2]]);
});

test("keeps all WAL when it is not known where a backup's begins", async () => {
  await plantBackup("000001", 1, 5);
  await plantSegment(1, 1);
  expect((await pruneNow({ walStart: () => undefined })).segments).toBe(0);
});

test("does nothing in an empty store", async () => {
  expect(await pruneNow()).toEqual({ decisions: [], backups: [], segments: 0, refusals: [] });
});

describe("a backup goes only when a newer one has been proven", () => {
  let ids: string[];

  beforeEach(async () => {
    ids = [
      await plantBackup("000001", 90, 1),
      await plantBackup("000002", 80, 2),
      await plantBackup("000003", 1, 3),
    ];
    for (let number = 1; number <= 3; number += 1) await plantSegment(1, number);
  });

  async function verdicts() {
    const { decisions } = await pruneNow({ dryRun: true });
    return decisions.map(({ backup, verdict }) => [ids.indexOf(backup.id), verdict]);
  }

  test("without any proof nothing goes, and the reason says what to do", async () => {
    const before = await keys();
    const { backups, segments, decisions } = await pruneNow();
    expect({ backups, segments }).toEqual({ backups: [], segments: 0 });
    expect(await keys()).toEqual(before);
    expect(decisions.map(({ verdict, why }) => `${verdict} ${why}`)).toEqual([
      `waits although it is older than 30 d, because no newer backup has been proven: verify ${ids[2]}, or drill it`,
      `waits although it is older than 30 d, because no newer backup has been proven: verify ${ids[2]}, or drill it`,
    ]);
  });

  test("a proof of one lets only older ones go", async () => {
    await verify(ids[1]);
    expect(await verdicts()).toEqual([
      [0, "goes"],
      [1, "waits"],
    ]);
    const { backups, segments, decisions } = await pruneNow();
    expect({ backups, segments }).toEqual({ backups: [ids[0]], segments: 1 });
    expect(decisions[1]?.why).toMatch(/it is the newest that has been proven \(verified on 2026-01-26/);
    expect(await keys("db/wal/")).toHaveLength(4);
  });

  test("a passed drill of a newer backup is proof, and the newest record that proves enough is the last that is read", async () => {
    const old = await drill(5, ids[0] ?? "", "passed");
    const proof = await drill(0, ids[2] ?? "", "passed");
    const reads: string[] = [];
    const spied: Store = {
      ...store,
      get(key, options) {
        reads.push(key);
        return store.get(key, options);
      },
    };
    const { backups, decisions } = await pruneNow({}, spied);
    expect(backups).toEqual(ids.slice(0, 2));
    expect(decisions[0]?.why).toContain(`the newer ${ids[2]} was recovered by the passed drill ${proof}`);
    expect(reads.filter((key) => key.startsWith("drills/"))).toEqual([drillKey(proof)]);
    expect(old).not.toBe(proof);
  });

  test.each([
    ["that failed", () => drill(0, ids[2] ?? "", "failed")],
    ["of another component", () => drill(0, ids[2] ?? "", "passed", "other")],
    ["of the old backup", () => drill(0, ids[0] ?? "", "passed")],
    ["of a backup that is gone", () => drill(0, "20300101T000000Z-abcdef", "passed")],
  ])("a drill %s is none", async (_what, plant) => {
    await plant();
    expect((await verdicts()).map(([, verdict]) => verdict)).toEqual(["waits", "waits"]);
  });

  test("a record that is damaged, and a note of a backup that is gone, are none", async () => {
    await write(drillKey("20990101T000000Z-abcdef"), "{");
    await verify("20300101T000000Z-abcdef");
    expect((await verdicts()).map(([, verdict]) => verdict)).toEqual(["waits", "waits"]);
  });

  test("a proven backup whose objects are gone since is none", async () => {
    await verify(ids[1]);
    await store.delete([objectKey("db", ids[1] ?? "", "base.tar.zst")]);
    await expect(pruneNow()).rejects.toThrow(
      /because the newest proven backup .* is not whole: .* is absent/,
    );
    expect(await listBackupIds(store, "db")).toEqual(ids);
  });

  test("a dry run tells what would go, and deletes nothing", async () => {
    await verify(ids[2]);
    const before = await keys();
    expect(await pruneNow({ dryRun: true })).toMatchObject({ backups: ids.slice(0, 2), segments: 2 });
    expect(await keys()).toEqual(before);
    expect(await pruneNow()).toMatchObject({ backups: ids.slice(0, 2), segments: 2 });
  });

  test("a note goes with its backup", async () => {
    await verify(ids[0]);
    await verify(ids[2]);
    await pruneNow();
    expect(await keys("db/verified/")).toEqual([verificationKey("db", ids[2] ?? "")]);
  });

  test("a locked manifest keeps its backup whole and listed, with its WAL", async () => {
    await verify(ids[2]);
    const before = await keys();
    const pruned = await pruneNow(
      {},
      locked((key) => key === manifestKey("db", ids[0] ?? "")),
    );
    expect(pruned).toMatchObject({ backups: [ids[1]], segments: 0 });
    expect(pruned.refusals).toEqual([
      expect.stringMatching(/does not let the backup .*000001 go.* stays whole and listed/),
    ]);
    expect((await keys()).length).toBe(before.length - 2);
    expect(await keys(backupPrefix("db", ids[0] ?? ""))).toHaveLength(2);
  });

  test("a backup whose part is locked for longer than its manifest is listed again", async () => {
    await verify(ids[2]);
    const pruned = await pruneNow(
      {},
      locked((key) => key.endsWith("base.tar.zst")),
    );
    expect(pruned).toMatchObject({ backups: [], segments: 0 });
    expect(pruned.refusals).toHaveLength(2);
    expect((await listBackups(store, "db")).map(({ id }) => id)).toEqual(ids);
  });

  test("WAL that is locked stays, and that is no failure", async () => {
    await verify(ids[2]);
    const pruned = await pruneNow(
      {},
      locked((key) => key.startsWith("db/wal/")),
    );
    expect(pruned.backups).toEqual(ids.slice(0, 2));
    expect(pruned.refusals).toEqual([expect.stringMatching(/does not let WAL go that no backup needs/)]);
  });
});
