import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { claimCluster } from "../../../../src/catalog/cluster.ts";
import { readHeartbeat } from "../../../../src/catalog/heartbeat.ts";
import { historyKey, segmentKey, sidecarKey } from "../../../../src/catalog/layout.ts";
import { lsn, segmentAt, segmentName } from "../../../../src/catalog/lsn.ts";
import {
  chainFrom,
  listSegments,
  missingAfter,
  newestRestorePoint,
  readSidecar,
} from "../../../../src/catalog/wal.ts";
import { DefectError, ToolError } from "../../../../src/errors.ts";
import { backupPostgres } from "../../../../src/postgres/backup.ts";
import type { Store } from "../../../../src/stores/store.ts";
import { byNight } from "../../../support/nightly.ts";
import { startPostgres, type TestPostgres } from "../../../support/postgres.ts";
import { detailsOf, keysOf, readSegment, type Taking, taking } from "../taking.ts";

const MIB = 2 ** 20;

/** Writes about so many MiB of WAL. */
async function writeWal(server: TestPostgres, mib: number): Promise<void> {
  await server.query(
    `INSERT INTO noise SELECT repeat(md5(g::text), 30) FROM generate_series(1, ${mib * 950}) g`,
  );
}

async function segmentNames(store: Store): Promise<string[]> {
  const keys = await keysOf(store, "db/wal/");
  return keys.filter((key) => key.endsWith(".zst")).map((key) => key.slice(-28, -4));
}

async function failureOf(work: Promise<unknown>): Promise<Error> {
  const error = await work.catch((caught: unknown) => caught);
  if (error instanceof Error) return error;
  throw new Error("It did not fail.");
}

/** Lets the server remove what no slot keeps any more. */
async function recycle(server: TestPostgres): Promise<void> {
  for (let round = 0; round < 3; round += 1) {
    await server.query("SELECT pg_switch_wal()");
    await server.query("CHECKPOINT");
  }
}

describe.each(byNight([14, 15, 18]))("WAL of PostgreSQL %i", (major) => {
  let server: TestPostgres;

  beforeAll(async () => {
    server = await startPostgres({
      major,
      initdbArgs: ["--wal-segsize=1"],
      settings: { min_wal_size: "2MB", max_wal_size: "8MB", wal_keep_size: 0 },
    });
    await server.query("CREATE TABLE noise (line text)");
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  /** A fresh slot, for a test of its own. */
  async function fresh(slot: string, like?: Taking): Promise<Taking> {
    return await taking({
      url: server.url,
      config: { wal: { slot } },
      ...(like === undefined ? {} : { like }),
    });
  }

  test("is archived byte for byte, and every segment's digest lies beside it", async () => {
    await using here = await fresh("bytes");
    await backupPostgres(here.setting, "wal", here.context);
    await server.query("SELECT pg_drop_replication_slot('bytes')");
    await server.query("SELECT pg_create_physical_replication_slot('bytes', true)");
    const [keeper] = await server.query<{ lsn: string }>("SELECT pg_current_wal_lsn() AS lsn");
    await server.query("SELECT pg_create_physical_replication_slot('keeper', true)");
    await writeWal(server, 12);
    await backupPostgres(here.setting, "wal", here.context);

    const names = (await segmentNames(here.store)).filter(
      (name) => name >= segmentName(1, segmentAt(lsn(keeper?.lsn ?? ""), MIB), MIB),
    );
    expect(names.length).toBeGreaterThan(10);
    for (const name of names) {
      const original = await readFile(join(server.dataDir, "pg_wal", name));
      expect((await readSegment(here.store, name)).equals(original)).toBe(true);
      const sidecar = await readSidecar(here.store, "db", name);
      expect(sidecar.bytes).toBe(MIB);
    }
    await server.query("SELECT pg_drop_replication_slot('bytes'), pg_drop_replication_slot('keeper')");
  });

  test("continues in the next run, and the slot follows what is stored", async () => {
    await using here = await fresh("next");
    await backupPostgres(here.setting, "wal", here.context);
    const first = await segmentNames(here.store);
    await writeWal(server, 3);
    const outcome = await backupPostgres(here.setting, "wal", here.context);
    const all = await segmentNames(here.store);
    expect(all.length).toBeGreaterThanOrEqual(first.length + 3);

    const inventory = await listSegments(here.store, "db", MIB);
    const start = inventory.segments.get(all[0] ?? "");
    const chain = chainFrom(inventory, BigInt(start?.number ?? 0) * BigInt(MIB), 1);
    expect(chain.map((segment) => segment.name)).toEqual(all);
    const newest = await newestRestorePoint(here.store, "db", chain);
    expect(newest?.segment.name).toBe(all.at(-1));
    expect(outcome.recoverableUntil?.toISOString().slice(0, 19)).toBe(newest?.point.time.slice(0, 19));
    const beat = await readHeartbeat(here.store, "db");
    expect(beat).toMatchObject({
      kind: "wal",
      backupId: null,
      lastSegment: all.at(-1),
      recoverableUntil: newest?.point.time,
    });
    const [slot] = await server.query<{ restart_lsn: string }>(
      "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 'next'",
    );
    const after = segmentAt(lsn(slot?.restart_lsn ?? "0/0"), MIB);
    expect(segmentName(1, after - 1, MIB)).toBe(all.at(-1));
    await server.query("SELECT pg_drop_replication_slot('next')");
  });

  test("of a run that broke off between sidecar and segment is completed by the next", async () => {
    await using here = await fresh("half");
    await server.query("SELECT pg_create_physical_replication_slot('half', true)");
    await server.query("SELECT pg_create_physical_replication_slot('half_keeper', true)");
    await backupPostgres(here.setting, "wal", here.context);
    const last = (await segmentNames(here.store)).at(-1) ?? "";
    const sidecar = await readSidecar(here.store, "db", last);
    await here.store.delete([segmentKey("db", last, false)]);
    expect((await listSegments(here.store, "db", MIB)).unfinished).toEqual([last]);
    await backupPostgres(here.setting, "wal", here.context);
    expect((await listSegments(here.store, "db", MIB)).unfinished).toEqual([]);
    expect(await readSidecar(here.store, "db", last)).toEqual(sidecar);
    expect(
      (await readSegment(here.store, last)).equals(await readFile(join(server.dataDir, "pg_wal", last))),
    ).toBe(true);
    await server.query("SELECT pg_drop_replication_slot('half'), pg_drop_replication_slot('half_keeper')");
  });

  test("that differs from what the archive holds under the same name is refused and overwrites nothing", async () => {
    await using here = await fresh("differs");
    await server.query("SELECT pg_create_physical_replication_slot('differs', true)");
    await backupPostgres(here.setting, "wal", here.context);
    await server.query("SELECT pg_switch_wal()");
    const next = segmentName(1, 1 + segmentAtName((await segmentNames(here.store)).at(-1) ?? ""), MIB);
    const other = {
      ...(await readSidecar(here.store, "db", (await segmentNames(here.store))[0] ?? "")),
      segment: next,
    };
    const planted = Buffer.from(JSON.stringify(other));
    await here.store.create(sidecarKey("db", next), planted);
    const error = await failureOf(backupPostgres(here.setting, "wal", here.context));
    expect(error).toBeInstanceOf(DefectError);
    expect(error.message).toContain(here.store.describe(sidecarKey("db", next)));
    expect(error.message).toContain(`another content of the WAL segment ${next}`);
    expect(await segmentNames(here.store)).not.toContain(next);
    await server.query("SELECT pg_drop_replication_slot('differs')");
  });

  test("that the server has already removed is a gap: no more WAL, but a full backup begins a new chain", async () => {
    await using here = await fresh("gap");
    await backupPostgres(here.setting, "full", here.context);
    const before = await segmentNames(here.store);
    await server.query("SELECT pg_drop_replication_slot('gap')");
    await writeWal(server, 10);
    await recycle(server);

    const error = await failureOf(backupPostgres(here.setting, "wal", here.context));
    expect(error).toBeInstanceOf(ToolError);
    const missing = segmentName(1, 1 + segmentAtName(before.at(-1) ?? ""), MIB);
    expect(error.message).toMatch(
      new RegExp(
        `archive of "db" ends before segment ${missing}, which the server has already removed: .*max_slot_wal_keep_size.*Take a full backup`,
      ),
    );
    expect(await segmentNames(here.store)).toEqual(before);

    const { manifest } = await backupPostgres(here.setting, "full", here.context);
    expect(here.context.lines.filter((line) => line.startsWith("warning:")).join()).toMatch(
      /begins a new chain; times in the gap/,
    );
    const details = detailsOf(manifest);
    const inventory = await listSegments(here.store, "db", MIB);
    expect(chainFrom(inventory, lsn(details.startLsn), 1).length).toBeGreaterThan(0);
    // The next run continues the new chain.
    await backupPostgres(here.setting, "wal", here.context);
    const chain = chainFrom(await listSegments(here.store, "db", MIB), lsn(details.startLsn), 1);
    expect(chain.at(-1)?.name).toBe((await segmentNames(here.store)).at(-1));
    await server.query("SELECT pg_drop_replication_slot('gap')");
  });

  test("is pulled through a slot that was made without reserving any", async () => {
    await using here = await fresh("bare");
    await server.query("SELECT pg_create_physical_replication_slot('bare')");
    const { manifest } = await backupPostgres(here.setting, "full", here.context);
    expect(manifest).toBeDefined();
    await server.query("SELECT pg_drop_replication_slot('bare')");
  });

  test("that a slot lost is an error for WAL alone, and a full backup makes the slot anew", async () => {
    await using here = await fresh("lost");
    await backupPostgres(here.setting, "full", here.context);
    await server.query("ALTER SYSTEM SET max_slot_wal_keep_size = '2MB'");
    await server.query("SELECT pg_reload_conf()");
    try {
      await writeWal(server, 12);
      await recycle(server);
      await expect
        .poll(
          async () =>
            (await server.query("SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'lost'"))[0]
              ?.wal_status,
        )
        .toBe("lost");
      const error = await failureOf(backupPostgres(here.setting, "wal", here.context));
      expect(error.message).toMatch(
        /slot "lost" at .* lost its WAL .*max_slot_wal_keep_size.*take a full backup/,
      );
      // Two segments are so little that the new slot could be lost in turn while the backup runs.
      await server.query("ALTER SYSTEM RESET max_slot_wal_keep_size");
      await server.query("SELECT pg_reload_conf()");
      const { manifest } = await backupPostgres(here.setting, "full", here.context);
      expect(manifest).toBeDefined();
      expect(here.context.lines.join("\n")).toMatch(/warning: The replication slot "lost".*is made anew/);
    } finally {
      await server.query("ALTER SYSTEM RESET max_slot_wal_keep_size");
      await server.query("SELECT pg_reload_conf()");
      await server.query("SELECT pg_drop_replication_slot('lost')");
    }
  });

  test("of another cluster is refused before anything is written", async () => {
    await using here = await fresh("foreign");
    await claimCluster(here.store, "db", "1234567890123456789");
    const before = await keysOf(here.store);
    for (const kind of ["wal", "full"] as const) {
      const error = await failureOf(backupPostgres(here.setting, kind, here.context));
      expect(error).toBeInstanceOf(DefectError);
      expect(error.message).toMatch(
        /holds the cluster with system identifier 1234567890123456789, but this server is \d+/,
      );
    }
    expect(await keysOf(here.store)).toEqual(before);
    expect(await server.query("SELECT 1 FROM pg_replication_slots WHERE slot_name = 'foreign'")).toEqual([]);
  });

  test("beyond what the server has is refused: it was set back", async () => {
    await using here = await fresh("ahead");
    await backupPostgres(here.setting, "wal", here.context);
    const last = (await segmentNames(here.store)).at(-1) ?? "";
    for (let step = 1; step <= 3; step += 1) {
      const name = segmentName(1, segmentAtName(last) + step, MIB);
      const sidecar = { ...(await readSidecar(here.store, "db", last)), segment: name };
      await here.store.create(sidecarKey("db", name), Buffer.from(JSON.stringify(sidecar)));
      await here.store.create(segmentKey("db", name, false), Buffer.from("x"));
    }
    const error = await failureOf(backupPostgres(here.setting, "wal", here.context));
    expect(error.message).toMatch(
      /holds WAL up to .*, but the server is only at .* it was set back to an older state/,
    );
    await server.query("SELECT pg_drop_replication_slot('ahead')");
  });

  test("is archived, with the GRANT in a warning, by a role that may not end it in a named point", async () => {
    await server.query("CREATE ROLE \"Backup\" LOGIN REPLICATION PASSWORD 'pw'");
    const url = `postgresql://Backup:pw@127.0.0.1:${server.port}/postgres`;
    await using here = await taking({ url, config: { wal: { slot: "modest" } } });
    const { manifest, recoverableUntil } = await backupPostgres(here.setting, "full", here.context);
    expect(recoverableUntil).toBeUndefined();
    expect(detailsOf(manifest).restorePoint).toBeNull();
    expect(here.context.lines.join("\n")).toMatch(
      /warning: The role "Backup" may not .* run GRANT EXECUTE ON FUNCTION pg_create_restore_point\(text\), pg_switch_wal\(\) TO "Backup" in the database "postgres"/,
    );
    await server.query(
      'GRANT EXECUTE ON FUNCTION pg_create_restore_point(text), pg_switch_wal() TO "Backup"',
    );
    const granted = await backupPostgres(here.setting, "wal", here.context);
    expect(granted.recoverableUntil).toBeInstanceOf(Date);
    await server.query("SELECT pg_drop_replication_slot('modest')");
  });
});

function segmentAtName(name: string): number {
  return Number.parseInt(name.slice(8, 16), 16) * (2 ** 32 / MIB) + Number.parseInt(name.slice(16), 16);
}

describe("WAL that a slow store takes", () => {
  test("is waited for by the server, however long it takes", async () => {
    await using server = await startPostgres({
      major: 18,
      initdbArgs: ["--wal-segsize=1"],
      settings: { wal_sender_timeout: "2s" },
    });
    await server.query("CREATE TABLE noise (line text)");
    await using plain = await taking({ url: server.url });
    await backupPostgres(plain.setting, "wal", plain.context);
    await writeWal(server, 30);
    let stall: Promise<void> | undefined;
    const store: Store = {
      ...plain.store,
      async put(key, body, options) {
        stall ??= sleep(5_000);
        await stall;
        return await plain.store.put(key, body, options);
      },
    };
    await backupPostgres({ ...plain.setting, store }, "wal", plain.context);
    const inventory = await listSegments(plain.store, "db", MIB);
    expect(inventory.unfinished).toEqual([]);
    expect(inventory.segments.size).toBeGreaterThan(20);
  });
});

describe("WAL of a server that was promoted", () => {
  test("follows it onto the new timeline without a gap, with its history file", async () => {
    await using server = await startPostgres({ major: 18, initdbArgs: ["--wal-segsize=1"] });
    await server.query("CREATE TABLE noise (line text)");
    await using here = await taking({ url: server.url });
    const { manifest } = await backupPostgres(here.setting, "full", here.context);
    await writeWal(server, 2);
    await server.stop();
    await writeFile(join(server.dataDir, "standby.signal"), "");
    await server.restart();
    await server.query("SELECT pg_promote()");
    await expect
      .poll(async () => (await server.query("SELECT pg_is_in_recovery() AS it"))[0]?.it)
      .toBe(false);
    await writeWal(server, 2);
    await backupPostgres(here.setting, "wal", here.context);

    const details = detailsOf(manifest);
    const inventory = await listSegments(here.store, "db", MIB);
    expect([...inventory.histories.keys()]).toEqual([2]);
    const history = await readFile(join(server.dataDir, "pg_wal", "00000002.history"), "utf8");
    const stored = await here.store.get(historyKey("db", 2));
    let text = "";
    for await (const chunk of stored) text += Buffer.from(chunk).toString("utf8");
    expect(text).toBe(history);
    const chain = chainFrom(inventory, lsn(details.startLsn), 1, 2);
    expect(new Set(chain.map((segment) => segment.timeline))).toEqual(new Set([1, 2]));
    expect(chain.at(-1)?.name).toBe((await segmentNames(here.store)).at(-1));
    const newest = await newestRestorePoint(here.store, "db", chain);
    expect(newest?.segment.timeline).toBe(2);
    expect(missingAfter(inventory, lsn(details.startLsn), 1, 2) > (chain.at(-1)?.name ?? "")).toBe(true);
  });
});
