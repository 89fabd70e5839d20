import { chmodSync } from "node:fs";
import { chown, copyFile, mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { readHeartbeat } from "../../../../src/catalog/heartbeat.ts";
import { historyKey, sidecarKey } from "../../../../src/catalog/layout.ts";
import { lsn, parseSegmentName, segmentName } from "../../../../src/catalog/lsn.ts";
import { chainFrom, listSegments, newestRestorePoint } from "../../../../src/catalog/wal.ts";
import type { Recovered } from "../../../../src/component.ts";
import { ToolError, UserError } from "../../../../src/errors.ts";
import { backupPostgres } from "../../../../src/postgres/backup.ts";
import { type ArchiveFolder, openArchiveFolder } from "../../../../src/postgres/wal/archive-folder.ts";
import { startFolderPull } from "../../../../src/postgres/wal/folder-pull.ts";
import type { Store } from "../../../../src/stores/store.ts";
import { byNight } from "../../../support/nightly.ts";
import { startPostgres, type TestPostgres } from "../../../support/postgres.ts";
import { ask, openSource, type Source, withConfig } from "../recovering.ts";
import { detailsOf, keysOf, readSegment } from "../taking.ts";

const MIB = 2 ** 20;

/** How a file of the server's lands in the folder. */
type Delivery = (from: string, folder: string, name: string) => Promise<void>;

interface Archiving extends AsyncDisposable {
  readonly source: Source;
  readonly server: TestPostgres;
  /** What wal.archive names. */
  readonly folder: string;
  /** What the server archived, as it was. */
  readonly inbox: string;
  /** How the next files are delivered. */
  deliver: Delivery;
}

const plain: Delivery = (from, folder, name) => copyFile(from, join(folder, name));
const gzip: Delivery = async (from, folder, name) =>
  await writeFile(join(folder, `${name}.gz`), gzipSync(await readFile(from), { level: 1 }));
const zstd: Delivery = async (from, folder, name) =>
  await writeFile(join(folder, `${name}.zst`), zstdCompressSync(await readFile(from)));

/** A server whose archive_command fills an inbox, and a carrier that delivers from there into the folder. */
async function archiving(major: number, deliver: Delivery = plain): Promise<Archiving> {
  const root = await mkdtemp(join(tmpdir(), "drillbook-wal-folder-"));
  chmodSync(root, 0o755);
  const folder = join(root, "archive");
  const inbox = join(root, "inbox");
  await mkdir(folder);
  await mkdir(inbox);
  const source = await openSource({
    postgres: {
      major,
      initdbArgs: ["--wal-segsize=1"],
      settings: {
        archive_mode: "on",
        archive_command: `cp %p ${inbox}/%f.new && mv ${inbox}/%f.new ${inbox}/%f`,
        max_replication_slots: 0,
      },
    },
    config: { wal: { archive: folder } },
  });
  const { server } = source;
  if (server.user !== undefined) await chown(inbox, server.user.uid, server.user.gid);
  await server.query("CREATE TABLE noise (line text)");
  const stop = new AbortController();
  const delivered = new Set<string>();
  const self = { source, server, folder, inbox, deliver, [Symbol.asyncDispose]: dispose };

  async function carry(): Promise<void> {
    while (!stop.signal.aborted) {
      for (const name of (await readdir(inbox)).sort()) {
        if (name.endsWith(".new") || delivered.has(name)) continue;
        delivered.add(name);
        await self.deliver(join(inbox, name), folder, name);
      }
      await sleep(20);
    }
  }
  const carrying = carry();

  async function dispose(): Promise<void> {
    stop.abort();
    await carrying;
    await source[Symbol.asyncDispose]();
    await rm(root, { recursive: true, force: true });
  }
  return self;
}

async function writeWal({ server }: Archiving, mib: number): Promise<void> {
  await server.query(
    `INSERT INTO noise SELECT repeat(md5(g::text), 30) FROM generate_series(1, ${mib * 950}) g`,
  );
}

async function storedNames({ source }: Archiving): Promise<string[]> {
  const keys = await keysOf(source.taking.store, "db/wal/");
  return keys.filter((key) => key.endsWith(".zst")).map((key) => key.slice(-28, -4));
}

async function failureOf(work: Promise<unknown>): Promise<Error> {
  const error = await work.catch((caught: unknown) => caught);
  if (error instanceof Error) return error;
  throw new Error("It did not fail.");
}

async function using<T>(recovered: Recovered, look: (recovered: Recovered) => Promise<T>): Promise<T> {
  try {
    return await look(recovered);
  } finally {
    await recovered.dispose();
  }
}

describe("a stream from the folder of archive_command", () => {
  test("ends a segment at each point, which is recoverable before the run ends", async () => {
    await using place = await archiving(18);
    const { source } = place;
    const { store, context } = source.taking;
    await source.backup();
    const beats: string[] = [];
    const listening: Store = {
      ...store,
      async put(key, body, options) {
        const bytes = await store.put(key, body, options);
        if (key.endsWith("heartbeat.json"))
          beats.push((await readHeartbeat(store, "db"))?.recoverableUntil ?? "");
        return bytes;
      },
    };
    const config = { wal: { archive: place.folder }, freshness: { wal: "2s" } };
    const setting = { ...withConfig(source, config), store: listening };
    const writing = writeWal(place, 3);
    const outcome = await backupPostgres(setting, "wal", context, { streamSeconds: 5 });
    await writing;
    expect(context.lines.filter((line) => line.includes("pg_switch_wal"))).toHaveLength(1);
    expect(context.lines.filter((line) => /recoverable until .*, \d+ segments?, lag/.test(line)).length).toBe(
      beats.length - 1,
    );
    expect(beats.length).toBeGreaterThan(2);
    expect(beats).toEqual(beats.toSorted());
    expect(beats.at(-1)?.slice(0, 23)).toBe(outcome.recoverableUntil?.toISOString().slice(0, 23));
    await (await source.recover("latest")).dispose();
  });
});

describe.each(byNight([14, 18]))("WAL from the folder of PostgreSQL %i's archive_command", (major) => {
  test("in all its forms is synced bit by bit, ends in a named point, and is recovered from", async () => {
    let turn = 0;
    await using place = await archiving(major, async (from, folder, name) => {
      turn += 1;
      await [plain, gzip, zstd][turn % 3]?.(from, folder, name);
    });
    const { source, server, folder } = place;
    for (const name of [
      "README",
      "000000010000000000000001.partial",
      "000000010000000000000001.00000028.backup",
    ]) {
      await writeFile(join(folder, name), "not a segment");
    }
    await server.query("CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id");
    const manifest = await source.backup();
    const afterFull = await storedNames(place);
    await writeWal(place, 9);
    await server.query("INSERT INTO orders SELECT generate_series(1001, 1500)");
    const before = await source.clock();
    await server.query("DELETE FROM orders");
    await source.backup("wal");

    const names = await storedNames(place);
    expect(names.length).toBeGreaterThan(afterFull.length + 6);
    expect(names.slice(0, afterFull.length)).toEqual(afterFull);
    for (const name of names) {
      const original = await readFile(join(place.inbox, name));
      expect((await readSegment(source.taking.store, name)).equals(original)).toBe(true);
    }
    const inventory = await listSegments(source.taking.store, "db", MIB);
    const chain = chainFrom(inventory, lsn(detailsOf(manifest).startLsn), 1);
    expect(chain.at(-1)?.name).toBe(names.at(-1));
    expect((await newestRestorePoint(source.taking.store, "db", chain))?.segment.name).toBe(names.at(-1));
    expect(await server.query("SELECT 1 FROM pg_replication_slots")).toEqual([]);

    expect(await using(await source.recover(before), (it) => ask(it, "SELECT count(*) FROM orders"))).toBe(
      "1500",
    );
    expect(await using(await source.recover("latest"), (it) => ask(it, "SELECT count(*) FROM orders"))).toBe(
      "0",
    );
  });
});

describe("a file in the archive's folder", () => {
  test("that is written slowly, in place and in its full size, is taken only when it is whole", async () => {
    await using place = await archiving(18, async (from, folder, name) => {
      const bytes = await readFile(from);
      const file = await open(join(folder, name), "w");
      await file.truncate(bytes.length);
      const step = Math.ceil(bytes.length / 8);
      for (let at = 0; at < bytes.length; at += step) {
        await file.write(bytes.subarray(at, at + step), 0, undefined, at);
        await sleep(60);
      }
      await file.close();
    });
    await place.source.backup();
    await writeWal(place, 3);
    await place.source.backup("wal");
    const names = await storedNames(place);
    expect(names.length).toBeGreaterThan(4);
    for (const name of names) {
      const original = await readFile(join(place.inbox, name));
      expect((await readSegment(place.source.taking.store, name)).equals(original)).toBe(true);
    }
  });

  test("that was cut short is not taken, in any form", async () => {
    await using place = await archiving(18);
    await place.source.backup();
    await place.server.query("SELECT pg_switch_wal()");
    const name = (await storedNames(place)).at(-1) ?? "";
    const bytes = await readFile(join(place.inbox, name));
    const folder = await openFolder(place);
    const packed = zstdCompressSync(bytes);
    for (const [file, content, why] of [
      [name, bytes.subarray(0, MIB / 2), /holds 524288 bytes, but a segment has 1048576/],
      [name, Buffer.alloc(MIB), /does not begin like a segment/],
      [name, Buffer.alloc(3 * MIB, 1), /is too large/],
      [`${name}.gz`, gzipSync(bytes).subarray(0, -100), /is not a whole \.gz file/],
      [`${name}.zst`, packed.subarray(0, packed.length / 2), /is not a whole \.zst file|holds \d+ bytes/],
    ] as const) {
      for (const each of [name, `${name}.gz`, `${name}.zst`])
        await rm(join(place.folder, each), { force: true });
      await writeFile(join(place.folder, file), content);
      expect(await lookTwice(folder, name)).toMatchObject({ missing: expect.stringMatching(why) });
    }
    // The whole one beside it counts.
    await writeFile(join(place.folder, name), bytes);
    expect(await lookTwice(folder, name)).toMatchObject({ content: bytes });
  });

  test("counts once in two forms of one content, and two contents are an error", async () => {
    await using place = await archiving(18, async (from, folder, name) => {
      await plain(from, folder, name);
      await gzip(from, folder, name);
    });
    await place.source.backup();
    const stored = await storedNames(place);
    expect(stored.length).toBeGreaterThan(1);
    place.deliver = async (from, folder, name) => {
      await plain(from, folder, name);
      const other = await readFile(from);
      other[MIB / 2] = (other[MIB / 2] ?? 0) ^ 1;
      await writeFile(join(folder, `${name}.gz`), gzipSync(other));
    };
    const error = await failureOf(place.source.backup("wal"));
    expect(error).toBeInstanceOf(ToolError);
    expect(error.message).toMatch(
      /[0-9A-F]{24} and .*[0-9A-F]{24}\.gz hold different content under one name/,
    );
    expect(await storedNames(place)).toEqual(stored);
  });

  test("of another cluster, or of another segment, is refused", async () => {
    await using place = await archiving(18);
    await place.source.backup();
    const stored = await storedNames(place);
    await using other = await startPostgres({ major: 18, initdbArgs: ["--wal-segsize=1"] });
    const foreign = await readFile(
      join(other.dataDir, "pg_wal", (await readdir(join(other.dataDir, "pg_wal"))).sort()[0] ?? ""),
    );
    place.deliver = async (_from, folder, name) => await writeFile(join(folder, name), foreign);
    const error = await failureOf(place.source.backup("wal"));
    expect(error).toBeInstanceOf(UserError);
    expect(error.message).toMatch(/is of the cluster with system identifier \d+, but this server is \d+/);

    const folder = await openFolder(place);
    const first = stored[0] ?? "";
    const renamed = segmentName(1, (parseSegmentName(first, MIB)?.number ?? 0) + 100, MIB);
    await copyFile(join(place.inbox, first), join(place.folder, renamed));
    await expect(lookTwice(folder, renamed)).rejects.toThrow(/but its name says .*: it was renamed/);
    expect(await storedNames(place)).toEqual(stored);
  });
});

describe("an archive's folder", () => {
  test("that is none is refused before anything is written to it", async () => {
    await using source = await openSource({ config: { wal: { archive: "/nonexistent/wal" } } });
    const error = await failureOf(source.backup());
    expect(error).toBeInstanceOf(UserError);
    expect(error.message).toMatch(/wal\.archive names \/nonexistent\/wal, which is not a folder/);
    const written = await keysOf(source.taking.store);
    expect(written.filter((key) => !/\/(?:cluster\.json$|lease\/)/.test(key))).toEqual([]);
  });

  test("with a hole ends the chain: no more WAL, but a full backup begins a new one", async () => {
    await using place = await archiving(18);
    await place.source.backup();
    const stored = await storedNames(place);
    const hole = segmentName(1, 1 + (parseSegmentName(stored.at(-1) ?? "", MIB)?.number ?? 0), MIB);
    place.deliver = async (from, folder, name) => {
      if (name !== hole) await plain(from, folder, name);
    };
    await writeWal(place, 3);
    const error = await failureOf(place.source.backup("wal"));
    expect(error).toBeInstanceOf(ToolError);
    expect(error.message).toMatch(
      new RegExp(
        `ends before segment ${hole}, and .* does not have it although it has later ones .*Take a full`,
      ),
    );
    expect(await storedNames(place)).toEqual(stored);
    await place.source.backup();
    expect(place.source.taking.context.lines.join("\n")).toMatch(/warning: .*This backup begins a new chain/);
    expect(await using(await place.source.recover("latest"), (it) => ask(it, "SELECT 1"))).toBe("1");
  });

  test("that nothing comes into any more ends the wait, with what the server says of its archiving", async () => {
    await using place = await archiving(18);
    await place.source.backup();
    const folder = await openFolder(place);
    const stored = await storedNames(place);
    const number = (parseSegmentName(stored.at(-1) ?? "", MIB)?.number ?? 0) + 1;
    const { store } = place.source.taking;
    const { systemIdentifier, startLsn } = detailsOf((await place.source.backup()) ?? undefined);
    const pull = startFolderPull(
      {
        archive: { store, component: "db", recipients: [], systemIdentifier },
        folder,
        identity: { systemIdentifier, timeline: 1, flushedTo: startLsn, walSegmentBytes: MIB },
        plan: {
          path: { timeline: 1, ancestors: [] },
          first: number + 50,
          freshFirst: number + 50,
          last: undefined,
          inventory: await listSegments(store, "db", MIB),
        },
        kind: "wal",
        explain: async () => "It said why.",
        patienceMs: 500,
      },
      place.source.taking.context,
    );
    pull.finish({ through: BigInt((number + 51) * MIB), point: undefined });
    const error = await failureOf(pull.done);
    expect(error.message).toMatch(
      /did not archive segment [0-9A-F]{24} into .* within 500 ms: there is no .*It said why\./,
    );
  });

  test("follows a promoted server onto its new timeline", async () => {
    await using place = await archiving(18);
    const { server, source } = place;
    await source.backup();
    await writeWal(place, 2);
    await server.stop();
    await writeFile(join(server.dataDir, "standby.signal"), "");
    await server.restart();
    await server.query("SELECT pg_promote()");
    await expect
      .poll(async () => (await server.query("SELECT pg_is_in_recovery() AS it"))[0]?.it)
      .toBe(false);
    await writeWal(place, 2);
    await source.backup("wal");
    const names = await storedNames(place);
    expect(new Set(names.map((name) => name.slice(0, 8)))).toEqual(new Set(["00000001", "00000002"]));
    expect(await source.taking.store.stat(historyKey("db", 2))).toBeDefined();
    expect(await source.taking.store.stat(sidecarKey("db", names.at(-1) ?? ""))).toBeDefined();
    expect(await using(await source.recover("latest"), async (it) => it.reached.timeline)).toBe(3);
  });
});

async function openFolder({ source, folder }: Archiving): Promise<ArchiveFolder> {
  const [row] = await source.server.query<{ id: string }>(
    "SELECT system_identifier::text AS id FROM pg_control_system()",
  );
  return await openArchiveFolder({ path: folder, systemIdentifier: row?.id ?? "", segmentBytes: MIB });
}

/** A new file counts at the second look. */
async function lookTwice(folder: ArchiveFolder, name: string) {
  await folder.segment(name);
  await sleep(250);
  return await folder.segment(name);
}
