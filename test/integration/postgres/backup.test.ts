import { randomFillSync } from "node:crypto";
import { chown, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Decrypter, generateX25519Identity, identityToRecipient } from "age-encryption";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listBackups } from "../../../src/catalog/backups.ts";
import { readHeartbeat } from "../../../src/catalog/heartbeat.ts";
import { backupPrefix, isBackupId, objectKey } from "../../../src/catalog/layout.ts";
import { lsn, segmentBefore } from "../../../src/catalog/lsn.ts";
import { recordVerification } from "../../../src/catalog/verifications.ts";
import { chainFrom, listSegments, newestRestorePoint } from "../../../src/catalog/wal.ts";
import type { Context } from "../../../src/context.ts";
import { AbortedError, ToolError } from "../../../src/errors.ts";
import { backupPostgres } from "../../../src/postgres/backup.ts";
import { prunePostgres } from "../../../src/postgres/prune.ts";
import { readAll, type Store } from "../../../src/stores/store.ts";
import { byNight } from "../../support/nightly.ts";
import { startPostgres, type TestPostgres } from "../../support/postgres.ts";
import { censusOfBackup, rowsOf } from "./census/censuses.ts";
import { detailsOf, keysOf, readArchives, readServerManifest, type Taking, taking } from "./taking.ts";

const MIB = 2 ** 20;

/** A statement again and again on a connection of its own; the answer stops it. */
async function keepRunning(server: TestPostgres, sql: string): Promise<() => Promise<number>> {
  const client = await server.client();
  let running = true;
  let rounds = 0;
  const loop = (async () => {
    while (running) {
      await client.query(sql);
      rounds += 1;
    }
  })();
  // When the test fails before it stops this, the server ends the connection.
  loop.catch(() => undefined);
  return async () => {
    running = false;
    await loop;
    await client.end();
    return rounds;
  };
}

/** A taking whose store does something before it passes each chunk of an archive on. */
function through(here: Taking, beforeChunk: (key: string, bytes: number) => Promise<void> | void): Taking {
  const store: Store = {
    ...here.store,
    async put(key, body, options) {
      if (!/\/\w+\.tar\./.test(key)) return await here.store.put(key, body, options);
      async function* watched(): AsyncGenerator<Uint8Array> {
        let bytes = 0;
        for await (const chunk of body) {
          await beforeChunk(key, bytes);
          bytes += chunk.byteLength;
          yield chunk;
        }
      }
      return await here.store.put(key, watched(), options);
    },
  };
  return { ...here, store, setting: { ...here.setting, store } };
}

describe.each(byNight([14, 15, 18]))("a full backup of PostgreSQL %i", (major) => {
  let server: TestPostgres;
  let spaces: string;

  beforeAll(async () => {
    server = await startPostgres({ major, settings: { autovacuum: false } });
    spaces = await mkdtemp(join(tmpdir(), "drillbook-test-spaces-"));
    if (server.user !== undefined) await chown(spaces, server.user.uid, server.user.gid);
    for (const name of ["fast", "large"]) {
      await mkdir(join(spaces, name), { mode: 0o700 });
      if (server.user !== undefined) await chown(join(spaces, name), server.user.uid, server.user.gid);
      await server.query(`CREATE TABLESPACE ${name} LOCATION '${join(spaces, name)}'`);
      await server.query(
        `CREATE TABLE in_${name} TABLESPACE ${name} AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, 30000) g`,
      );
    }
    await server.query("CREATE TABLE orders (id bigserial PRIMARY KEY, note text)");
    await server.query("INSERT INTO orders (note) SELECT repeat('x', 100) FROM generate_series(1, 5000)");
    await server.query('CREATE SCHEMA "Shop"');
    await server.query('CREATE TABLE "Shop"."Order Lines" AS SELECT 1 AS id');
    await server.query("CREATE UNLOGGED TABLE carts (id int)");
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await rm(spaces, { recursive: true, force: true });
  });

  test("under writes holds every file of the server's own manifest, tablespaces and the WAL it needs", async () => {
    await using here = await taking({ url: server.url });
    const stop = await keepRunning(
      server,
      "INSERT INTO orders (note) SELECT md5(random()::text) FROM generate_series(1, 200)",
    );
    const outcome = await backupPostgres(here.setting, "full", here.context);
    expect(await stop()).toBeGreaterThan(1);

    const listed = await listBackups(here.store, "db");
    expect(listed).toEqual([outcome.manifest]);
    const manifest = listed[0];
    if (manifest === undefined) throw new Error("no backup");
    const details = detailsOf(manifest);
    expect(isBackupId(manifest.id)).toBe(true);

    const oids = (
      await server.query<{ oid: string }>(
        "SELECT oid::text FROM pg_tablespace WHERE oid > 16000 ORDER BY spcname",
      )
    ).map((row) => row.oid);
    expect(manifest.objects.map((object) => object.name).sort()).toEqual(
      [...oids.map((oid) => `${oid}.tar.zst`), "backup_manifest", "base.tar.zst", "census.json.zst"].sort(),
    );
    const { files, links } = await readArchives(here.store, manifest);
    expect(Object.fromEntries(links)).toEqual({
      [`pg_tblspc/${oids[0]}`]: join(spaces, "fast"),
      [`pg_tblspc/${oids[1]}`]: join(spaces, "large"),
    });
    const expected = await readServerManifest(here.store, manifest);
    for (const file of expected) {
      expect([file.Path, files.get(file.Path)]).toEqual([
        file.Path,
        { bytes: file.Size, sha256: file.Checksum },
      ]);
    }
    expect(expected.filter((file) => file.Path.startsWith("pg_tblspc/")).length).toBeGreaterThan(1);
    expect(details.tablespaces.map((space) => [space.oid, space.location])).toEqual([
      [oids[0], join(spaces, "fast")],
      [oids[1], join(spaces, "large")],
    ]);
    expect(details.dataBytes).toBe(
      manifest.objects
        .filter((object) => object.role === "archive")
        .reduce((sum, object) => sum + object.rawBytes, 0),
    );

    const inventory = await listSegments(here.store, "db", details.walSegmentBytes);
    const chain = chainFrom(inventory, lsn(details.startLsn), details.timeline);
    expect(chain.at(-1)?.number).toBeGreaterThanOrEqual(
      segmentBefore(lsn(details.stopLsn), details.walSegmentBytes),
    );
    expect((await newestRestorePoint(here.store, "db", chain))?.point).toEqual(details.restorePoint);
    expect(outcome.recoverableUntil?.toISOString()).toBe(`${details.restorePoint?.time.slice(0, 23)}Z`);
    expect(await readHeartbeat(here.store, "db")).toMatchObject({ backupId: manifest.id, kind: "full" });
    expect(
      details.startTime < details.stopTime && details.stopTime < (details.restorePoint?.time ?? ""),
    ).toBe(true);
  });

  test("records the facts that recovery and people need", async () => {
    await using here = await taking({ url: server.url });
    const { manifest } = await backupPostgres(here.setting, "full", here.context);
    const details = detailsOf(manifest);
    const [control] = await server.query<{ id: string }>(
      "SELECT system_identifier::text AS id FROM pg_control_system()",
    );
    expect(details).toMatchObject({
      systemIdentifier: control?.id,
      major,
      timeline: 1,
      walSegmentBytes: 16 * MIB,
      bootstrapSuperuser: "postgres",
      database: "postgres",
      dataChecksums: major >= 18,
      settings: {
        max_connections: "100",
        wal_level: "replica",
        shared_preload_libraries: "",
        data_directory: server.dataDir,
      },
    });
    expect(details.serverVersion).toMatch(new RegExp(`^${major}\\.\\d+$`));
    expect(Math.floor(details.serverVersionNum / 10_000)).toBe(major);
    expect(details.databases.find((database) => database.name === "postgres")).toMatchObject({
      encoding: "UTF8",
      localeProvider: "libc",
      collate: "C",
      ctype: "C",
    });
    expect(details.extensions).toEqual([{ name: "plpgsql", version: "1.0" }]);
  });

  test("counts the rows that checks compare, and says which tables it could not count", async () => {
    const checks = ["in_fast", '"Shop"."Order Lines"', "carts", "missing"].map((rows) => ({ rows }));
    await using here = await taking({ url: server.url, config: { checks } });
    const { manifest } = await backupPostgres(here.setting, "full", here.context);
    const census = await censusOfBackup(here.setting, manifest);
    expect(census.tables).toEqual({
      in_fast: "public.in_fast",
      '"Shop"."Order Lines"': '"Shop"."Order Lines"',
      carts: "public.carts",
      missing: null,
    });
    expect(rowsOf(census, "postgres")).toMatchObject({
      "public.in_fast": 30_000,
      '"Shop"."Order Lines"': 1,
      "public.carts": expect.stringContaining("unlogged"),
    });
    const warnings = here.context.lines.filter((line) => line.startsWith("warning:"));
    expect(warnings).toHaveLength(2);
  });

  test("counts what it can when the role may not read one of the tables", async () => {
    await server.query("CREATE ROLE counter LOGIN REPLICATION PASSWORD 'pw'");
    await server.query("GRANT SELECT ON in_fast TO counter");
    const checks = [{ rows: "orders" }, { rows: "in_fast" }];
    const url = `postgresql://counter:pw@127.0.0.1:${server.port}/postgres`;
    await using here = await taking({ url, config: { checks } });
    const { manifest } = await backupPostgres(here.setting, "full", here.context);
    expect(rowsOf(await censusOfBackup(here.setting, manifest), "postgres")).toMatchObject({
      "public.orders": expect.stringContaining("GRANT SELECT ON public.orders TO counter"),
      "public.in_fast": 30_000,
    });
  });

  test("of a sealed store can be opened with the identity alone", async () => {
    const identity = await generateX25519Identity();
    const recipients = [await identityToRecipient(identity)];
    await using here = await taking({ url: server.url, recipients });
    const { manifest } = await backupPostgres(here.setting, "full", here.context);
    if (manifest === undefined) throw new Error("no backup");
    const { files } = await readArchives(here.store, manifest, identity);
    const expected = await readServerManifest(here.store, manifest);
    for (const file of expected) expect(files.get(file.Path)?.sha256).toBe(file.Checksum);
    const keys = await keysOf(here.store);
    expect(keys.filter((key) => /\.zst$/.test(key))).toEqual([]);
    const segment = keys.find((key) => key.endsWith(".zst.age")) ?? "";
    const decrypter = new Decrypter();
    decrypter.addIdentity(identity);
    expect((await decrypter.decrypt(await readAll(await here.store.get(segment)))).length).toBeGreaterThan(0);
  });

  test("whose connection the server kills leaves nothing behind", async () => {
    await using plain = await taking({ url: server.url });
    const here = through(plain, async (_key, bytes) => {
      if (bytes === 0)
        await server.query(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BASE_BACKUP%'",
        );
      await sleep(5);
    });
    await server.query(
      "INSERT INTO orders (note) SELECT md5(random()::text) FROM generate_series(1, 200000)",
    );
    const error = await backupPostgres(here.setting, "full", here.context).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ToolError);
    expect((error as Error).message).toMatch(
      /PostgreSQL at .* ended the connection while taking the base backup|broke while taking the base backup/,
    );
    expect(await keysOf(plain.store, "db/backups/")).toEqual([]);
    expect(await listBackups(plain.store, "db")).toEqual([]);
    await expect.poll(() => sessions(server)).toEqual([]);
  });

  test("that is stopped in the middle leaves nothing behind and nothing running", async () => {
    await using plain = await taking({ url: server.url });
    const here = through(plain, () => plain.context.abort());
    const error = await backupPostgres(here.setting, "full", here.context).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(AbortedError);
    expect(await keysOf(plain.store, "db/backups/")).toEqual([]);
    await expect.poll(() => sessions(server)).toEqual([]);
  });

  test("whose store fails leaves nothing behind and says why", async () => {
    await using plain = await taking({ url: server.url });
    const here = through(plain, (key) => {
      if (/\/\d+\.tar/.test(key)) throw new ToolError("The disk of the store is full.");
    });
    const error = await backupPostgres(here.setting, "full", here.context).catch((caught: unknown) => caught);
    expect((error as Error).message).toBe("The disk of the store is full.");
    expect(await keysOf(plain.store, "db/backups/")).toEqual([]);
    await expect.poll(() => sessions(server)).toEqual([]);
  });

  test("whose WAL cannot be stored fails although the data could be", async () => {
    await using plain = await taking({ url: server.url });
    const store: Store = {
      ...plain.store,
      async create(key, body, signal) {
        if (key.startsWith("db/wal/")) throw new ToolError("No more WAL, please.");
        return await plain.store.create(key, body, signal);
      },
    };
    const setting = { ...plain.setting, store };
    const error = await backupPostgres(setting, "full", plain.context).catch((caught: unknown) => caught);
    expect((error as Error).message).toBe("No more WAL, please.");
    expect(await keysOf(plain.store, "db/backups/")).toEqual([]);
    await expect.poll(() => sessions(server)).toEqual([]);
  });

  test("makes the server wait for a slow store instead of filling the memory", async () => {
    const filler = join(server.dataDir, "filler");
    await writeFile(filler, randomFillSync(Buffer.allocUnsafe(300 * MIB)));
    if (server.user !== undefined) await chown(filler, server.user.uid, server.user.gid);
    await using plain = await taking({ url: server.url });
    const gate = Promise.withResolvers<void>();
    let peak = 0;
    const here = through(plain, async (_key, bytes) => {
      peak = Math.max(peak, process.memoryUsage().arrayBuffers);
      if (bytes > 0) await gate.promise;
    });
    const idle = process.memoryUsage().arrayBuffers;
    const work = backupPostgres(here.setting, "full", here.context);
    work.catch(() => undefined);
    try {
      const streamed = await settled(150 * MIB, async () => {
        const [row] = await server.query<{ streamed: string }>(
          "SELECT coalesce(max(backup_streamed), 0)::text AS streamed FROM pg_stat_progress_basebackup",
        );
        return Number(row?.streamed);
      });
      expect(streamed).toBeGreaterThan(0);
      expect(streamed).toBeLessThan(150 * MIB);
    } finally {
      gate.resolve();
    }
    const { manifest } = await work;
    expect(detailsOf(manifest).dataBytes).toBeGreaterThan(300 * MIB);
    expect(peak - idle).toBeLessThan(150 * MIB);
    await rm(filler);
  });

  test("older than retention asks for goes with its WAL, the newest never", async () => {
    await using here = await taking({ url: server.url, config: { retention: { keep: "30d", minimum: 1 } } });
    const ids: string[] = [];
    for (let round = 0; round < 3; round += 1) {
      ids.push((await backupPostgres(here.setting, "full", here.context)).manifest?.id ?? "");
    }
    const prunedAt = async (context: Context) => (await prunePostgres(here.setting, context)).backups;
    expect(await prunedAt(here.context)).toEqual([]);
    const later = { ...here.context, now: () => new Date(Date.now() + 31 * 86_400_000) };
    expect(await prunedAt(later)).toEqual([]);
    expect(here.context.lines.join("\n")).toMatch(
      new RegExp(
        `the backup ${ids[0]} stays although it is older than 30 d, .*: verify ${ids[2]}, or drill it`,
      ),
    );
    const proven = { backupId: ids[2] ?? "", depth: "checksums", at: new Date().toISOString() } as const;
    await recordVerification(here.store, "db", proven);
    expect(await prunedAt(later)).toEqual(ids.slice(0, 2));
    const [left] = await listBackups(here.store, "db");
    expect(left?.id).toBe(ids[2]);
    for (const id of ids.slice(0, 2)) expect(await keysOf(here.store, backupPrefix("db", id))).toEqual([]);
    const details = detailsOf(left);
    const inventory = await listSegments(here.store, "db", details.walSegmentBytes);
    const chain = chainFrom(inventory, lsn(details.startLsn), 1);
    expect([...inventory.segments.keys()]).toEqual(chain.map((segment) => segment.name));
    // The chain still continues after that.
    await backupPostgres(here.setting, "wal", here.context);

    await here.store.delete([objectKey("db", left?.id ?? "", "base.tar.zst")]);
    await expect(prunePostgres(here.setting, later)).rejects.toThrow(
      /Nothing was deleted by retention, because the newest backup/,
    );
  });
});

test.each([16, 17])(
  "a full backup of PostgreSQL %i holds every file and the facts of the cluster too",
  async (major) => {
    await using server = await startPostgres({
      major,
      initdbArgs: ["--locale-provider=icu", "--icu-locale=de"],
    });
    await using here = await taking({ url: server.url });
    const { manifest } = await backupPostgres(here.setting, "full", here.context);
    if (manifest === undefined) throw new Error("no backup");
    const details = detailsOf(manifest);
    expect(details).toMatchObject({ major, bootstrapSuperuser: "postgres", database: "postgres" });
    const database = details.databases.find((each) => each.name === "postgres");
    expect(database).toMatchObject({
      localeProvider: "icu",
      locale: "de",
      collationVersion: expect.stringMatching(/\d/),
    });
    const { files } = await readArchives(here.store, manifest);
    for (const file of await readServerManifest(here.store, manifest)) {
      expect(files.get(file.Path)?.sha256).toBe(file.Checksum);
    }
  },
);

/** Who still works for us on the server. */
async function sessions(server: TestPostgres): Promise<unknown[]> {
  return await server.query("SELECT pid, query FROM pg_stat_activity WHERE application_name = 'drillbook'");
}

/** A value once it stays the same for a while, or is over the limit. */
async function settled(limit: number, read: () => Promise<number>): Promise<number> {
  let value = 0;
  for (let same = 0; same < 8 && value < limit; ) {
    await sleep(100);
    const now = await read();
    same = now === value && now > 0 ? same + 1 : 0;
    value = now;
  }
  return value;
}
