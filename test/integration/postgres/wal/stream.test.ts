import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { generateIdentity, identityToRecipient } from "age-encryption";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { unpack } from "../../../../src/archive/unpack.ts";
import { readHeartbeat } from "../../../../src/catalog/heartbeat.ts";
import { partialSidecarKey, sidecarKey } from "../../../../src/catalog/layout.ts";
import { lsn, segmentStart } from "../../../../src/catalog/lsn.ts";
import {
  chainFrom,
  listSegments,
  newestRestorePoint,
  readSidecar,
  readSidecarOf,
  type WalSegment,
} from "../../../../src/catalog/wal.ts";
import { AbortedError, DefectError } from "../../../../src/errors.ts";
import { backupPostgres } from "../../../../src/postgres/backup.ts";
import type { PostgresDetails } from "../../../../src/postgres/details.ts";
import { segmentFile } from "../../../../src/postgres/recovery/fetch-wal.ts";
import { readAll, type Store } from "../../../../src/stores/store.ts";
import { byNight } from "../../../support/nightly.ts";
import { startS3World } from "../../../support/s3-world.ts";
import {
  alterObject,
  ask,
  openSource,
  roomContext,
  type Source,
  spiedStore,
  withConfig,
} from "../recovering.ts";
import { detailsOf, keysOf, settingOf } from "../taking.ts";
import { acknowledgedBefore, expireLease, FRESH, startWriter, streamAside } from "./streaming.ts";

const MIB = 2 ** 20;
/** A line of the log for a point that lies in a segment that is not complete. */
const IN_PARTIAL = /recoverable until .* of the next, lag/;

async function partialsIn(store: Store): Promise<string[]> {
  return (await keysOf(store, "db/wal/")).filter((key) => key.includes(".partial."));
}

type Partial = WalSegment & { readonly partial: { readonly bytes: number } };

/** The one partial that counts. */
async function partialOf(store: Store, segmentBytes: number): Promise<Partial> {
  const { partials } = await listSegments(store, "db", segmentBytes);
  const newest = [...partials.values()].map((one) => one.newest).filter((one) => one !== undefined);
  expect(newest).toHaveLength(1);
  return newest[0] as Partial;
}

/** The details of the oldest backup. */
async function detailsIn(store: Store): Promise<PostgresDetails> {
  const [manifest] = (await keysOf(store, "db/backups/")).filter((key) => key.endsWith("manifest.json"));
  return detailsOf(JSON.parse((await readAll(await store.get(manifest ?? ""))).toString()));
}

async function slotPosition({ server }: Source): Promise<bigint> {
  const [row] = await server.query<{ at: string }>(
    "SELECT restart_lsn::text AS at FROM pg_replication_slots WHERE slot_name = 'drillbook'",
  );
  return lsn(row?.at ?? "");
}

describe.each([
  { major: 15, segmentMib: 16, sealed: false },
  { major: 18, segmentMib: 1, sealed: true },
  { major: 18, segmentMib: 64, sealed: false },
])(
  "PostgreSQL $major, segments of $segmentMib MiB, sealed: $sealed: after kill -9 of a stream and the loss of the server",
  ({ major, segmentMib, sealed }) => {
    const segmentBytes = segmentMib * MIB;
    let source: Source;
    let store: Store;
    let clocks: string[];
    let slotAt: bigint;
    const saved = new Map<string, Buffer>();

    beforeAll(async () => {
      const identity = await generateIdentity();
      const recipients = sealed ? [await identityToRecipient(identity)] : [];
      source = await openSource({
        postgres: { major, initdbArgs: [`--wal-segsize=${segmentMib}`], settings: { max_wal_size: "1GB" } },
        recipients,
        identity,
      });
      store = source.taking.store;
      const writer = await startWriter(source.server);
      await source.backup();
      const stream = await streamAside(source);
      try {
        await stream.until(IN_PARTIAL, 2);
        // Behind a switch the next partial has whole segments before it.
        await source.server.query("SELECT pg_switch_wal()");
        await stream.until(IN_PARTIAL, 5);
      } finally {
        await stream.kill9();
      }
      slotAt = await slotPosition(source);
      clocks = await writer.stop();
      await source.server.wipe();
    });
    afterAll(async () => {
      await source[Symbol.asyncDispose]();
    });

    test("the latest point is recovered from the partial, with every commit before it", async () => {
      await using context = await roomContext();
      const until = (await readHeartbeat(store, "db"))?.recoverableUntil ?? "";
      const partial = await partialOf(store, segmentBytes);
      const recovered = await source.recover("latest", { context });
      try {
        const { lsn: reached, time } = recovered.reached;
        expect((time ?? "") >= until).toBe(true);
        expect(lsn(reached) > segmentStart(partial.number, segmentBytes)).toBe(true);
        const sure = acknowledgedBefore(clocks, time ?? "");
        expect(sure).toBeGreaterThan(100);
        expect(Number(await ask(recovered, `SELECT count(*) FROM marks WHERE id <= ${sure}`))).toBe(sure);
      } finally {
        await recovered.dispose();
      }
      expect(context.remains()).toEqual([]);
    });

    test("so is any time before it", async () => {
      await using context = await roomContext();
      const sidecar = await readSidecarOf(store, "db", await partialOf(store, segmentBytes));
      const time = sidecar.restorePoint?.time ?? "";
      const recovered = await source.recover(time, { context });
      try {
        const sure = acknowledgedBefore(clocks, time);
        expect(Number(await ask(recovered, `SELECT count(*) FROM marks WHERE id <= ${sure}`))).toBe(sure);
        expect(await ask(recovered, `SELECT bool_and(at <= '${time}') FROM marks`)).toBe("t");
      } finally {
        await recovered.dispose();
      }
    });

    test("behind the partial's bytes the server gets zeros", async () => {
      const partial = await partialOf(store, segmentBytes);
      const file = segmentFile(source.setting, partial, await detailsIn(store));
      const used = Buffer.alloc(segmentBytes, 0xff);
      const bytes = await file.fetch(new AbortController().signal, used);
      expect(file.name).toBe(partial.name);
      expect(bytes.length).toBe(segmentBytes);
      expect(bytes.subarray(partial.partial.bytes).every((byte) => byte === 0)).toBe(true);
      expect(bytes.subarray(0, partial.partial.bytes).some((byte) => byte !== 0)).toBe(true);
    });

    test("the slot was only confirmed up to whole segments", async () => {
      const partial = await partialOf(store, segmentBytes);
      expect(slotAt <= segmentStart(partial.number, segmentBytes)).toBe(true);
      expect(slotAt % BigInt(segmentBytes)).toBe(0n);
    });

    async function damage(key: string, change: ((bytes: Buffer) => Buffer) | undefined): Promise<void> {
      saved.set(key, await readAll(await store.get(key)));
      if (change === undefined) await store.delete([key]);
      else await alterObject(store, key, change);
    }

    /** The error of a drill, and the proof that nothing of it is left. */
    async function defect(target = "latest"): Promise<DefectError> {
      await using context = await roomContext();
      try {
        const error = await source.recover(target, { context }).then(
          async (recovered) => {
            await recovered.dispose();
            return new Error(`It was recovered to ${recovered.reached.lsn}.`);
          },
          (thrown: unknown) => thrown,
        );
        expect(error).toBeInstanceOf(DefectError);
        expect(context.remains()).toEqual([]);
        return error as DefectError;
      } finally {
        for (const [key, bytes] of saved) await store.put(key, once(bytes));
        saved.clear();
      }
    }

    test.each([
      { how: "is cut", change: (bytes: Buffer) => bytes.subarray(0, bytes.length - 20) },
      { how: "is empty", change: () => Buffer.alloc(0) },
      {
        how: "has one bit flipped",
        change: (bytes: Buffer) => {
          const at = Math.floor(bytes.length / 2);
          bytes[at] = (bytes[at] ?? 0) ^ 1;
          return bytes;
        },
      },
      { how: "is missing", change: undefined },
    ])("it does not pass when the partial $how", async ({ change }) => {
      const { key } = await partialOf(store, segmentBytes);
      await damage(key, change);
      expect((await defect()).subject).toBe(store.describe(key));
    });

    test.each([
      { how: "is missing", fields: undefined, message: /is missing/ },
      {
        how: "is another cluster's",
        fields: { systemIdentifier: "7000000000000000000" },
        message: /is of the cluster 7000000000000000000/,
      },
      { how: "has another SHA-256", fields: { sha256: "0".repeat(64) }, message: /was altered/ },
      { how: "was renamed", fields: { bytes: 8192 }, message: /was copied or renamed/ },
      {
        how: "names a point that is not in it",
        fields: {
          restorePoint: { name: "elsewhere", lsn: "0/7FFFFFF0", time: "2099-01-01T00:00:00.000000Z" },
        },
        message: /could not replay to the target/,
      },
    ])("it does not pass when the partial's sidecar $how", async ({ fields, message }) => {
      const { name, partial } = await partialOf(store, segmentBytes);
      await damage(
        partialSidecarKey("db", name, partial.bytes),
        fields && ((bytes) => Buffer.from(JSON.stringify({ ...JSON.parse(bytes.toString()), ...fields }))),
      );
      expect((await defect()).message).toMatch(message);
    });
  },
);

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

describe.each(byNight([15, 18]))("PostgreSQL %i: a stream that was killed", (major) => {
  let source: Source;
  let store: Store;

  beforeAll(async () => {
    source = await openSource({ postgres: { major, initdbArgs: ["--wal-segsize=1"] } });
    store = source.taking.store;
    await source.server.query("CREATE TABLE noise (line text)");
    await source.backup();
  });
  afterAll(async () => {
    await source[Symbol.asyncDispose]();
  });

  async function streamAndKill(): Promise<Partial> {
    const stream = await streamAside(source);
    try {
      await stream.until(IN_PARTIAL, 2);
    } finally {
      await stream.kill9();
    }
    await expect.poll(() => activeSlots(source)).toBe(0);
    return await partialOf(store, MIB);
  }

  /** The chain from the backup's start, as a recovery would follow it. */
  async function chain(): Promise<WalSegment[]> {
    const { startLsn } = await detailsIn(store);
    return chainFrom(await listSegments(store, "db", MIB), lsn(startLsn), 1);
  }

  test("is continued by the next run without a gap, which leaves no partial", async () => {
    const partial = await streamAndKill();
    expect((await chain()).at(-1)).toEqual(partial);
    await source.backup("wal");
    expect(await partialsIn(store)).toEqual([]);
    const names = (await chain()).map((segment) => segment.name);
    expect(names).toContain(partial.name);
    expect(names.at(-1)).toBe((await readHeartbeat(store, "db"))?.lastSegment);
    const recovered = await source.recover("latest");
    await recovered.dispose();
  });

  test("is continued by the next stream, whose partials take the place of the one that was left", async () => {
    const partial = await streamAndKill();
    await using context = await roomContext();
    await backupPostgres(withConfig(source, FRESH), "wal", context, { streamSeconds: 3 });
    expect(context.lines.filter((line) => line.startsWith("warning:"))).toEqual([]);
    expect(context.lines.some((line) => IN_PARTIAL.test(line))).toBe(true);
    expect(await partialsIn(store)).toEqual([]);
    expect((await chain()).map((segment) => segment.name)).toContain(partial.name);
  });

  test("is continued by a full backup as well", async () => {
    const partial = await streamAndKill();
    await source.backup("full");
    expect(await partialsIn(store)).toEqual([]);
    expect((await chain()).map((segment) => segment.name)).toContain(partial.name);
  });

  test("leaves its point to the whole segment, when that holds no newer one", async () => {
    const partial = await streamAndKill();
    const { restorePoint } = await readSidecarOf(store, "db", partial);
    for (let turn = 0; turn < 3; turn += 1) {
      await source.server.query("INSERT INTO noise VALUES ('x')");
      await source.server.query("SELECT pg_switch_wal()");
    }
    await source.backup("wal");
    expect((await readSidecar(store, "db", partial.name)).restorePoint).toEqual(restorePoint);
  });

  test("and whose server then went another way on the same timeline is refused", async () => {
    const partial = await streamAndKill();
    const key = partialSidecarKey("db", partial.name, partial.partial.bytes);
    const before = await readAll(await store.get(key));
    await alterObject(store, key, (bytes) =>
      Buffer.from(bytes.toString().replace(/"sha256": "[0-9a-f]{8}/, '"sha256": "00000000')),
    );
    await expect(source.backup("wal")).rejects.toThrow(/another content of the WAL segment/);
    // Nor does a longer partial take its place.
    await using context = await roomContext();
    const again = backupPostgres(withConfig(source, FRESH), "wal", context, { streamSeconds: 3 });
    await expect(again).rejects.toThrow(/another content of the WAL segment/);
    expect(await partialsIn(store)).toEqual([key, partial.key]);
    expect(await keysOf(store, sidecarKey("db", partial.name))).toEqual([]);
    await store.put(key, once(before));
    await source.backup("wal");
  });

  test("may be continued while a recovery runs, which then reads the whole segment", async () => {
    const partial = await streamAndKill();
    const { restorePoint } = await readSidecarOf(store, "db", partial);
    const spied = spiedStore(store);
    let continued = false;
    const overtaken: Store = {
      ...spied,
      async get(key, options) {
        if (key === partial.key && !continued) {
          continued = true;
          await source.backup("wal");
          expect(await partialsIn(store)).toEqual([]);
        }
        return await spied.get(key, options);
      },
    };
    const recovered = await source.recover("latest", { setting: { ...source.setting, store: overtaken } });
    try {
      expect(continued).toBe(true);
      expect(recovered.reached.lsn).toBe(restorePoint?.lsn);
      expect(spied.reads.some((key) => key.endsWith(`${partial.name}.zst`))).toBe(true);
    } finally {
      await recovered.dispose();
    }
  });

  test("may be continued while a recovery is planned, which then plans anew", async () => {
    const partial = await streamAndKill();
    const { restorePoint } = await readSidecarOf(store, "db", partial);
    let continued = false;
    const overtaken: Store = {
      ...store,
      async get(key, options) {
        if (key.endsWith(".partial.json") && !continued) {
          continued = true;
          await source.backup("wal");
        }
        return await store.get(key, options);
      },
    };
    const recovered = await source.recover("latest", { setting: { ...source.setting, store: overtaken } });
    try {
      expect(continued).toBe(true);
      expect(lsn(recovered.reached.lsn) > lsn(restorePoint?.lsn ?? "")).toBe(true);
    } finally {
      await recovered.dispose();
    }
  });

  test("ends within seconds when it is aborted, and what was shipped stays valid", async () => {
    await using context = await roomContext();
    const setting = withConfig(source, FRESH);
    const work = backupPostgres(setting, "wal", context, { streamSeconds: 600 });
    work.catch(() => undefined);
    await expect
      .poll(() => context.lines.some((line) => IN_PARTIAL.test(line)), { timeout: 20_000 })
      .toBe(true);
    const startedAt = performance.now();
    context.abort();
    await expect(work).rejects.toThrow(AbortedError);
    // A promise to users, not a measurement of speed.
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    const until = (await readHeartbeat(store, "db"))?.recoverableUntil ?? "";
    const recovered = await source.recover("latest");
    try {
      expect((recovered.reached.time ?? "") >= until).toBe(true);
    } finally {
      await recovered.dispose();
    }
  });
});

async function activeSlots({ server }: Source): Promise<number> {
  return (await server.query("SELECT 1 FROM pg_replication_slots WHERE active")).length;
}

describe("a stream under load", () => {
  test("completes segments whose partials it shipped, and each names its newest point", async () => {
    await using source = await openSource({ postgres: { major: 18, initdbArgs: ["--wal-segsize=1"] } });
    const { store, context } = source.taking;
    await source.backup();
    const writer = await startWriter(source.server, 6_000);
    const created: string[] = [];
    const slots: bigint[] = [];
    const listening: Store = {
      ...store,
      async create(key, body, signal) {
        if (key.endsWith(".partial.json")) {
          created.push(Buffer.from(body).toString());
          slots.push(await slotPosition(source));
        }
        return await store.create(key, body, signal);
      },
    };
    const setting = { ...withConfig(source, FRESH), store: listening };
    const outcome = await backupPostgres(setting, "wal", context, { streamSeconds: 6 });
    const clocks = await writer.stop();

    const shipped = created.map(
      (text) => JSON.parse(text) as { segment: string; restorePoint: { lsn: string } },
    );
    expect(new Set(shipped.map((one) => one.segment)).size).toBeGreaterThan(2);
    for (const { segment, restorePoint } of shipped) {
      const whole = await readSidecar(store, "db", segment);
      expect(lsn(whole.restorePoint?.lsn ?? "0/0") >= lsn(restorePoint.lsn)).toBe(true);
    }
    expect(slots.every((position) => position % BigInt(MIB) === 0n)).toBe(true);
    expect(await partialsIn(store)).toEqual([]);
    const points = context.lines
      .map((line) => /recoverable until (\S+),/.exec(line)?.[1])
      .filter((one) => one !== undefined);
    expect(points.length).toBeGreaterThan(3);
    expect(points).toEqual(points.toSorted());
    const beat = await readHeartbeat(store, "db");
    expect(beat?.partial).toBeNull();
    expect(beat?.recoverableUntil?.slice(0, 23)).toBe(outcome.recoverableUntil?.toISOString().slice(0, 23));
    const { segments } = await listSegments(store, "db", MIB);
    const all = [...segments.values()];
    expect((await newestRestorePoint(store, "db", all))?.segment.name).toBe(beat?.lastSegment);

    const recovered = await source.recover("latest");
    try {
      const sure = acknowledgedBefore(clocks, recovered.reached.time ?? "");
      expect(Number(await ask(recovered, `SELECT count(*) FROM marks WHERE id <= ${sure}`))).toBe(sure);
    } finally {
      await recovered.dispose();
    }
  });
});

describe("a stream whose store is slow", () => {
  test("completes a segment while its partial is on its way, and both are right", async () => {
    await using source = await openSource({ postgres: { major: 18, initdbArgs: ["--wal-segsize=1"] } });
    const { store } = source.taking;
    await source.server.query("CREATE TABLE noise (line text)");
    await source.backup();
    const shipped: string[] = [];
    const slow: Store = {
      ...store,
      async put(key, body, options) {
        if (!key.endsWith(".partial.zst")) return await store.put(key, body, options);
        await source.server.query(
          "INSERT INTO noise SELECT repeat(md5(g::text), 30) FROM generate_series(1, 5000) g",
        );
        await sleep(500);
        const bytes = await store.put(key, body, options);
        const raw = await readAll(unpack(await store.get(key), { subject: key, sealed: false }));
        const sidecar = await readAll(await store.get(key.replace(/zst$/, "json")));
        expect(createHash("sha256").update(raw).digest("hex")).toBe(JSON.parse(sidecar.toString()).sha256);
        shipped.push(key.slice(-45, -21));
        return bytes;
      },
    };
    await using context = await roomContext();
    const setting = { ...withConfig(source, FRESH), store: slow };
    await backupPostgres(setting, "wal", context, { streamSeconds: 3 });
    expect(shipped.length).toBeGreaterThan(1);
    const { segments } = await listSegments(store, "db", MIB);
    for (const name of shipped) expect([...segments.keys()]).toContain(name);
    expect(await partialsIn(store)).toEqual([]);
    await (await source.recover("latest")).dispose();
  });
});

describe("a stream of a server on which nothing happens", () => {
  test("is told about each point at once, although nobody else has WAL flushed", async () => {
    await using source = await openSource({
      postgres: {
        major: 15,
        settings: { wal_writer_delay: "10s", synchronous_commit: "off", autovacuum: "off" },
      },
    });
    await source.backup();
    await using context = await roomContext();
    await backupPostgres(withConfig(source, FRESH), "wal", context, { streamSeconds: 4 });
    expect(context.lines.filter((line) => IN_PARTIAL.test(line)).length).toBeGreaterThan(2);
  });
});

describe("a stream into S3", () => {
  test("is recovered from its partial, and continued", async () => {
    const world = await startS3World();
    try {
      await using source = await openSource({ postgres: { major: 18 } });
      const { store, context } = await world.open();
      const options = { url: source.server.url, config: { server: { "bin-dir": source.server.binDir } } };
      const setting = settingOf(store, options);
      await backupPostgres(setting, "full", context);
      const writer = await startWriter(source.server);
      const { s3, proxy } = world;
      const place = { type: "s3", endpoint: proxy.url, bucket: s3.bucket, prefix: "shop" } as const;
      const stream = await streamAside(source, { store: place, env: s3.env });
      try {
        await stream.until(IN_PARTIAL, 3);
      } finally {
        await stream.kill9();
        await expireLease(store);
      }
      const clocks = await writer.stop();
      const partial = await partialOf(store, 16 * MIB);
      const recovered = await source.recover("latest", { setting });
      try {
        const sure = acknowledgedBefore(clocks, recovered.reached.time ?? "");
        expect(sure).toBeGreaterThan(50);
        expect(Number(await ask(recovered, `SELECT count(*) FROM marks WHERE id <= ${sure}`))).toBe(sure);
        expect(lsn(recovered.reached.lsn) > segmentStart(partial.number, 16 * MIB)).toBe(true);
      } finally {
        await recovered.dispose();
      }
      await expect.poll(() => activeSlots(source)).toBe(0);
      await backupPostgres(setting, "wal", context);
      expect(await partialsIn(store)).toEqual([]);
    } finally {
      await world.close();
    }
  });
});

describe("a role that may make no restore points", () => {
  test("streams whole segments alone, and is told so once", async () => {
    await using source = await openSource({ postgres: { major: 18, initdbArgs: ["--wal-segsize=1"] } });
    const { server } = source;
    await server.query("CREATE ROLE modest LOGIN REPLICATION PASSWORD 'pw'");
    await using context = await roomContext();
    const url = `postgresql://modest:pw@127.0.0.1:${server.port}/postgres`;
    const setting = settingOf(source.taking.store, { url, config: FRESH });
    const writer = await startWriter(server, 6_000);
    await backupPostgres(setting, "wal", context, { streamSeconds: 3 });
    await writer.stop();
    expect(
      context.lines.filter((line) => /^warning: .*Only whole segments are shipped/.test(line)),
    ).toHaveLength(1);
    const keys = await keysOf(source.taking.store, "db/wal/");
    expect(keys.filter((key) => key.includes(".partial."))).toEqual([]);
    expect(keys.length).toBeGreaterThan(2);
  });
});

describe("a stream across a promotion", () => {
  test("ends on the old timeline in its partial, and on the new one without it", async () => {
    await using source = await openSource({ postgres: { major: 18, initdbArgs: ["--wal-segsize=1"] } });
    const { server } = source;
    const { store } = source.taking;
    await server.query("CREATE TABLE steps (id int)");
    await source.backup();

    async function streamAndKill(): Promise<void> {
      const stream = await streamAside(source);
      try {
        await stream.until(IN_PARTIAL, 2);
      } finally {
        await stream.kill9();
      }
    }
    async function latest(): Promise<[number, string | null | undefined]> {
      const recovered = await source.recover("latest");
      try {
        return [recovered.reached.timeline, await ask(recovered, "SELECT count(*) FROM steps")];
      } finally {
        await recovered.dispose();
      }
    }

    await server.query("INSERT INTO steps VALUES (1)");
    await streamAndKill();
    const old = await partialOf(store, MIB);
    expect(old.timeline).toBe(1);
    expect(await latest()).toEqual([2, "1"]);

    await server.stop();
    await writeFile(join(server.dataDir, "standby.signal"), "");
    await server.restart();
    await server.query("SELECT pg_promote()");
    await expect
      .poll(async () => (await server.query("SELECT pg_is_in_recovery() AS it"))[0]?.it)
      .toBe(false);
    await server.query("INSERT INTO steps VALUES (2)");
    await streamAndKill();
    const { partials } = await listSegments(store, "db", MIB);
    expect([...partials.values()].map((one) => one.newest?.timeline).sort()).toEqual([1, 2]);
    expect(await latest()).toEqual([3, "2"]);

    await server.query("INSERT INTO steps VALUES (3)");
    await source.backup("wal");
    expect((await partialOf(store, MIB)).name).toBe(old.name);
    expect(await latest()).toEqual([3, "3"]);
  });
});
