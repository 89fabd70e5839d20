import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { encodeDocument } from "../../../../src/catalog/documents.ts";
import { writeHeartbeat } from "../../../../src/catalog/heartbeat.ts";
import { manifestKey, objectKey, segmentKey, sidecarKey } from "../../../../src/catalog/layout.ts";
import { segmentName } from "../../../../src/catalog/lsn.ts";
import { DefectError, UserError } from "../../../../src/errors.ts";
import type { PostgresDetails } from "../../../../src/postgres/details.ts";
import { planRecovery, type RecoveryPlan } from "../../../../src/postgres/recovery/plan.ts";
import { openStore } from "../../../../src/stores/open.ts";
import type { Store } from "../../../../src/stores/store.ts";
import { parseTarget } from "../../../../src/targets.ts";
import { type TestContext, testContext } from "../../../support/context.ts";

const SEGMENT = 16 * 2 ** 20;
const OLD = "20260101T120000Z-aaaaaa";
const NEW = "20260102T120000Z-bbbbbb";

/** What a plan decides by what lies in a store; the objects themselves are empty shells. */
describe("a recovery's plan", () => {
  let context: TestContext;
  let store: Store;

  beforeEach(async () => {
    context = await testContext();
    store = await openStore({ type: "file", path: join(context.workDir, "store") }, "local", context);
  });
  afterEach(async () => {
    await context[Symbol.asyncDispose]();
  });

  async function put(key: string, document: unknown): Promise<void> {
    await store.put(key, once(encodeDocument(document)));
  }

  /** A backup that begins in a segment and ends in the same, at noon of the day in its id. */
  async function putBackup(id: string, segment: number, more: Partial<PostgresDetails> = {}): Promise<void> {
    const noon = `2026-01-${id.slice(6, 8)}T12:00:00.000000Z`;
    const position = (offset: number) => `0/${(segment * SEGMENT + offset).toString(16).toUpperCase()}`;
    const details: PostgresDetails = {
      systemIdentifier: "7",
      serverVersion: "17.5",
      serverVersionNum: 170005,
      major: 17,
      timeline: 1,
      startLsn: position(0x28),
      stopLsn: position(0x200),
      startTime: noon,
      stopTime: noon,
      walSegmentBytes: SEGMENT,
      dataBytes: 1,
      tablespaces: [],
      dataChecksums: false,
      bootstrapSuperuser: "postgres",
      database: "postgres",
      databases: [],
      extensions: [],
      settings: {},
      restorePoint: null,
      ...more,
    };
    const shell = { role: "file", sealed: false, frameBytes: 0, frames: [], storedSha256: "" };
    const object = { ...shell, name: "backup_manifest", rawBytes: 1, storedBytes: 1 };
    await store.put(objectKey("db", id, object.name), once(Buffer.from("x")));
    await put(manifestKey("db", id), {
      schema: "drillbook/backup-manifest/v1",
      ...{ id, service: "shop", component: "db", type: "postgres", method: "physical" },
      ...{ startedAt: noon, finishedAt: noon, objects: [object], details },
    });
  }

  /** A segment, with a restore point at that time in its middle. */
  async function putSegment(number: number, pointTime?: string, offset = SEGMENT / 2): Promise<string> {
    const name = segmentName(1, number, SEGMENT);
    const position = `0/${(number * SEGMENT + offset).toString(16).toUpperCase()}`;
    await put(sidecarKey("db", name), {
      schema: "drillbook/wal-segment/v1",
      ...{
        segment: name,
        systemIdentifier: "7",
        sha256: "",
        bytes: SEGMENT,
        archivedAt: "2026-01-01T00:00:00Z",
      },
      ...(pointTime === undefined
        ? {}
        : { restorePoint: { name: `drillbook-${number}`, lsn: position, time: pointTime } }),
    });
    await store.put(segmentKey("db", name, false), once(Buffer.from("x")));
    return name;
  }

  function plan(target: string, backupId?: string): Promise<RecoveryPlan> {
    const encryption = { recipients: [], identity: () => undefined };
    const request = { target: parseTarget(target), backupId, now: new Date("2026-01-03T00:00:00Z") };
    return planRecovery({ name: "db", store, encryption }, request, context.signal);
  }

  async function putTwoDays(): Promise<void> {
    await putBackup(OLD, 2);
    await putBackup(NEW, 5);
    for (const number of [2, 3, 4, 5, 6]) await putSegment(number);
    await putSegment(7, "2026-01-02T18:00:00.000000Z");
  }

  test("takes the newest backup that ended before the target", async () => {
    await putTwoDays();
    expect((await plan("latest")).manifest.id).toBe(NEW);
    expect((await plan("immediate")).manifest.id).toBe(NEW);
    expect((await plan("2026-01-02T12:00:00.000001Z")).manifest.id).toBe(NEW);
    expect((await plan("2026-01-02T12:00:00Z")).manifest.id).toBe(OLD);
    expect((await plan("-12h")).manifest.id).toBe(OLD);
    expect((await plan("-11h")).manifest.id).toBe(NEW);
    expect((await plan("2026-01-02T18:00:00Z", OLD)).manifest.id).toBe(OLD);
  });

  test("lists the segments from the backup's start to the point, and no more", async () => {
    await putTwoDays();
    await putSegment(8);
    const numbers = async (target: string, id?: string) =>
      (await plan(target, id)).segments.map((segment) => segment.number);
    expect(await numbers("latest")).toEqual([5, 6, 7]);
    expect(await numbers("latest", OLD)).toEqual([2, 3, 4, 5, 6, 7]);
    expect(await numbers("immediate", OLD)).toEqual([2]);
    expect(await numbers("2026-01-01T13:00:00Z")).toEqual([2, 3, 4, 5, 6, 7]);
    expect((await plan("latest")).goal).toMatchObject({ kind: "restore-point", name: "drillbook-7" });
  });

  test("refuses a time at the backup's end or behind the newest point, and says how far", async () => {
    await putTwoDays();
    await expect(plan("2026-01-01T12:00:00Z")).rejects.toThrow(UserError);
    await expect(plan("2026-01-01T12:00:00Z")).rejects.toThrow(/is 1 µs too early/);
    await expect(plan("2026-01-01T11:59:59Z")).rejects.toThrow(
      "is 1 s too early for db: the oldest backup ended at 2026-01-01 12:00:00.000000+00, so choose a time after that and up to 2026-01-02 18:00:00.000000+00.",
    );
    await expect(plan("2026-01-02T18:00:00.000001Z")).rejects.toThrow(
      /is 1 µs later than the newest archived point/,
    );
    await expect(plan("2026-01-02T12:00:00Z", NEW)).rejects.toThrow(/that backup ended at/);
  });

  test("refuses what nothing is archived for", async () => {
    await expect(plan("latest")).rejects.toThrow(/db has no backup/);
    await putBackup(OLD, 2);
    await putSegment(2);
    for (const target of ["latest", "2026-01-01T13:00:00Z"]) {
      await expect(plan(target)).rejects.toThrow(UserError);
      await expect(plan(target)).rejects.toThrow(/no named restore point.*GRANT EXECUTE.*immediate/);
    }
    expect((await plan("immediate")).goal.kind).toBe("immediate");
  });

  test("does not count a point that lies before the backup's end", async () => {
    await putBackup(OLD, 2);
    await putSegment(2, "2026-01-01T11:59:00.000000Z", 0x100);
    await expect(plan("latest")).rejects.toThrow(/no named restore point/);
  });

  test("names the first missing object, be it the segment or its sidecar", async () => {
    await putTwoDays();
    const name = segmentName(1, 6, SEGMENT);
    for (const key of [segmentKey("db", name, false), sidecarKey("db", name)]) {
      await store.delete([key]);
      for (const target of ["latest", "2026-01-02T13:00:00Z"]) {
        const error = await plan(target).catch((thrown: unknown) => thrown);
        expect(error).toBeInstanceOf(DefectError);
        expect((error as DefectError).subject).toBe(store.describe(key));
      }
      expect((await plan("immediate")).segments.length).toBe(1);
      await putSegment(6);
    }
  });

  test("names a segment of the backup's own range", async () => {
    await putTwoDays();
    const key = segmentKey("db", segmentName(1, 5, SEGMENT), false);
    await store.delete([key]);
    for (const target of ["immediate", "latest"]) {
      await expect(plan(target)).rejects.toThrow(`${store.describe(key)} is missing`);
    }
  });

  test("recovers up to a gap with a warning, when the target lies before it", async () => {
    await putTwoDays();
    await putSegment(9);
    expect((await plan("2026-01-02T13:00:00Z")).warning).toContain(segmentName(1, 8, SEGMENT));
    await expect(plan("latest")).rejects.toThrow(DefectError);
  });

  test("takes the end of the archive for a gap only when more was archived once", async () => {
    await putTwoDays();
    // An upload that is under way: its sidecar comes first.
    const next = await putSegment(8);
    await store.delete([segmentKey("db", next, false)]);
    expect((await plan("latest")).warning).toBeUndefined();
    const beat = {
      component: "db",
      kind: "wal",
      finishedAt: "",
      backupId: null,
      recoverableUntil: null,
    } as const;
    await writeHeartbeat(store, { ...beat, lastSegment: segmentName(1, 7, SEGMENT) });
    expect((await plan("latest")).segments.length).toBe(3);
    // A run that was broken off had stored the second of two segments before the first.
    await putSegment(9);
    expect((await plan("latest")).goal).toMatchObject({ name: "drillbook-7" });
    expect((await plan("latest")).warning).toBeUndefined();
    await writeHeartbeat(store, { ...beat, lastSegment: next });
    await expect(plan("latest")).rejects.toThrow(
      `${store.describe(segmentKey("db", next, false))} is missing`,
    );
  });

  test("looks for every object of the backup in its full size", async () => {
    await putTwoDays();
    const key = objectKey("db", NEW, "backup_manifest");
    await store.put(key, once(Buffer.from("xx")));
    await expect(plan("latest")).rejects.toThrow(
      `${store.describe(key)} has 2 bytes, but the backup recorded 1`,
    );
    await store.delete([key]);
    await expect(plan("latest")).rejects.toThrow(`${store.describe(key)} is missing`);
  });
});

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
