import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { encodeDocument } from "../../../../src/catalog/documents.ts";
import { writeHeartbeat } from "../../../../src/catalog/heartbeat.ts";
import {
  historyKey,
  manifestKey,
  objectKey,
  segmentKey,
  sidecarKey,
} from "../../../../src/catalog/layout.ts";
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
const NEWEST = "20260103T120000Z-cccccc";

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
  async function putSegment(
    number: number,
    pointTime?: string,
    offset = SEGMENT / 2,
    more: PutMore = {},
  ): Promise<string> {
    const name = segmentName(more.timeline ?? 1, number, SEGMENT);
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
        : {
            restorePoint: {
              ...{ name: `drillbook-${number}`, lsn: position, time: pointTime },
              snapshot: more.snapshot,
            },
          }),
      restorePoints: more.points?.map((point, index) => ({
        ...{ name: point, time: "2026-01-02T15:00:00.000000Z" },
        lsn: `0/${(number * SEGMENT + 0x1000 * (index + 1)).toString(16).toUpperCase()}`,
      })),
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

  describe("of a position in the WAL", () => {
    const noon = (segment: number) => `0/${(segment * SEGMENT + 0x200).toString(16).toUpperCase()}`;

    test("takes the newest backup that ended there or before", async () => {
      await putTwoDays();
      expect((await plan(`lsn:${noon(5)}`)).manifest.id).toBe(NEW);
      expect((await plan("lsn:0/50001FF")).manifest.id).toBe(OLD);
      const { goal, segments } = await plan("lsn:0/3000000?exclusive");
      expect(goal).toEqual({ kind: "lsn", lsn: 0x3000000n, exclusive: true });
      expect(segments.map((segment) => segment.number)).toEqual([2, 3, 4, 5, 6, 7]);
    });

    test("is refused outside the window, which is named", async () => {
      await putTwoDays();
      await expect(plan("lsn:0/20001FF")).rejects.toThrow(UserError);
      await expect(plan("lsn:0/20001FF")).rejects.toThrow(
        "the oldest backup ended at 0/2000200, so choose a position from there on up to 0/77FFF70.",
      );
      expect((await plan("lsn:0/77FFF70")).goal.kind).toBe("lsn");
      await expect(plan("lsn:0/77FFF71")).rejects.toThrow(UserError);
      await expect(plan("lsn:0/77FFF71")).rejects.toThrow(/from 0\/5000200 up to 0\/77FFF70/);
      await store.delete([segmentKey("db", segmentName(1, 6, SEGMENT), false)]);
      await expect(plan("lsn:0/6000000")).rejects.toThrow(DefectError);
    });
  });

  describe("of a transaction", () => {
    async function putTransactions(): Promise<void> {
      await putBackup(OLD, 2, { stopSnapshot: "100:110:100,105" });
      await putBackup(NEW, 5, { stopSnapshot: "200:210:205" });
      for (const number of [2, 3, 4, 5, 6]) await putSegment(number);
      await putSegment(7, "2026-01-02T18:00:00.000000Z", SEGMENT / 2, { snapshot: "300:310:302" });
    }

    test.each([
      ["xid:301", NEW],
      ["xid:205", NEW],
      ["xid:210", NEW],
      ["xid:204", OLD],
      ["xid:105", OLD],
    ])("takes the newest backup in which %s had not ended", async (target, id) => {
      await putTransactions();
      const { manifest, goal } = await plan(target);
      expect({ id: manifest.id, goal }).toEqual({
        id,
        goal: { kind: "xid", xid: BigInt(target.slice(4)), exclusive: false },
      });
    });

    test.each([
      ["xid:101", /it had ended when the oldest backup did, at 2026-01-01 12:00/],
      ["xid:302", /had not ended at the newest archived point.*after 2026-01-02 12.*up to 2026-01-02 18/],
      ["xid:310", /had not ended at the newest archived point/],
      ["xid:4000000000", /had not ended at the newest archived point/],
    ])("refuses %s with the window", async (target, message) => {
      await putTransactions();
      await expect(plan(target)).rejects.toThrow(UserError);
      await expect(plan(target)).rejects.toThrow(message);
    });

    test("asks for a new backup when none says what it holds", async () => {
      await putTwoDays();
      await expect(plan("xid:301")).rejects.toThrow(UserError);
      await expect(plan("xid:301")).rejects.toThrow(/take a new backup, or choose a time/);
    });
  });

  describe("of a restore point", () => {
    test("takes the newest backup before the newest point of that name", async () => {
      await putBackup(OLD, 2);
      await putBackup(NEW, 5);
      await putSegment(2);
      await putSegment(3, undefined, 0, { points: ["a", "b"] });
      for (const number of [4, 5]) await putSegment(number);
      await putSegment(6, undefined, 0, { points: ["x", "b"] });
      await putSegment(7, "2026-01-02T18:00:00.000000Z");
      const { manifest, goal, segments } = await plan("name:b");
      expect(manifest.id).toBe(NEW);
      const micros = BigInt(Date.parse("2026-01-02T15:00:00Z")) * 1000n;
      expect(goal).toEqual({ kind: "restore-point", name: "b", lsn: 0x6002000n, micros });
      expect(segments.map((segment) => segment.number)).toEqual([5, 6]);
      expect((await plan("name:a")).manifest.id).toBe(OLD);
      await expect(plan("name:a", NEW)).rejects.toThrow(UserError);
      await expect(plan("name:c")).rejects.toThrow(UserError);
      await expect(plan("name:c")).rejects.toThrow(/no restore point named "c".*"x", "b", "a"/);
      // From the older backup PostgreSQL would stop at the first of the two.
      await expect(plan("name:b", OLD)).rejects.toThrow(UserError);
      await expect(plan("name:b", OLD)).rejects.toThrow(
        /2 restore points named "b", at 0\/3002000.*0\/6002000/,
      );
    });

    test("never begins with a backup in whose own window a point of that name lies", async () => {
      await putBackup(OLD, 2);
      await putBackup(NEW, 5, { stopLsn: "0/5001800" });
      for (const number of [2, 3, 4]) await putSegment(number);
      await putSegment(5, undefined, 0, { points: ["b"] });
      await putSegment(6, undefined, 0, { points: ["x"] });
      await putSegment(7, "2026-01-02T18:00:00.000000Z");
      expect((await plan("name:b")).manifest.id).toBe(OLD);
      await putSegment(6, undefined, 0, { points: ["b"] });
      await expect(plan("name:b")).rejects.toThrow(/2 restore points/);
    });

    test("is a defect when WAL is gone in which it may be", async () => {
      await putTwoDays();
      await store.delete([sidecarKey("db", segmentName(1, 6, SEGMENT))]);
      await expect(plan("name:c")).rejects.toThrow(DefectError);
    });
  });

  describe("on a timeline that is asked for", () => {
    /** Timeline 2 grew out of 1 within segment 6; 1 went on. */
    async function putFork(): Promise<void> {
      await putTwoDays();
      await store.put(historyKey("db", 2), once(Buffer.from("1\t0/6000800\tno recovery target specified\n")));
      await putSegment(6, undefined, 0, { timeline: 2 });
      await putSegment(7, "2026-01-02T20:00:00.000000Z", SEGMENT / 2, { timeline: 2 });
    }

    test("ends there, and on the youngest otherwise", async () => {
      await putFork();
      const where = async (target: string) => {
        const { timeline, segments, histories } = await plan(target);
        return { timeline, histories, last: segments.at(-1)?.name };
      };
      const youngest = { timeline: 2, histories: [2], last: segmentName(2, 7, SEGMENT) };
      expect(await where("latest")).toEqual(youngest);
      expect(await where("latest?timeline=2")).toEqual(youngest);
      const eldest = { timeline: 1, histories: [], last: segmentName(1, 7, SEGMENT) };
      expect(await where("latest?timeline=1")).toEqual(eldest);
      expect(await where("2026-01-02T17:00:00Z?timeline=1")).toEqual(eldest);
      await expect(plan("2026-01-02T19:00:00Z?timeline=1")).rejects.toThrow(UserError);
      expect((await plan("2026-01-02T19:00:00Z")).timeline).toBe(2);
    });

    test("begins with a backup that leads there", async () => {
      await putFork();
      await putBackup(NEWEST, 7);
      expect((await plan("latest")).manifest.id).toBe(NEWEST);
      expect((await plan("latest?timeline=2")).manifest.id).toBe(NEW);
    });

    test("is refused when there is none, or it branched before every backup", async () => {
      await putFork();
      await expect(plan("latest?timeline=3")).rejects.toThrow(UserError);
      await expect(plan("latest?timeline=3")).rejects.toThrow(/no timeline 3: it has the timelines 1, 2/);
      await putBackup(NEWEST, 7);
      await expect(plan("latest?timeline=2", NEWEST)).rejects.toThrow(UserError);
      await expect(plan("latest?timeline=2", NEWEST)).rejects.toThrow(
        /timeline 1 was left at 0\/6000800, before the backup .* ended at 0\/7000200/,
      );
    });
  });
});

interface PutMore {
  readonly timeline?: number;
  readonly snapshot?: string;
  /** Names of restore points, 0x1000 bytes apart. */
  readonly points?: readonly string[];
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
