import { chmodSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ToolError } from "../../../../src/errors.ts";
import { restoreDataFolder } from "../../../../src/postgres/recovery/fetch-data.ts";
import { segmentFile } from "../../../../src/postgres/recovery/fetch-wal.ts";
import { planRecovery } from "../../../../src/postgres/recovery/plan.ts";
import { replay } from "../../../../src/postgres/recovery/replay.ts";
import { startWalWindow } from "../../../../src/postgres/recovery/wal-window.ts";
import { chooseRuntime } from "../../../../src/postgres/scratch/choose-runtime.ts";
import { findRunUser } from "../../../../src/postgres/scratch/run-user.ts";
import { createScratch } from "../../../../src/postgres/scratch/scratch.ts";
import { freePort } from "../../../../src/postgres/scratch/server.ts";
import { byNight } from "../../../support/nightly.ts";
import { binDirOf } from "../../../support/postgres.ts";
import { ask, openSource, roomContext, withConfig } from "../recovering.ts";

describe.each(byNight([14, 15, 18]))("what the source of PostgreSQL %i was configured with", (major) => {
  test("does not come along: preloaded libraries, archiving, huge pages, raised limits", async () => {
    const archived = mkdtempSync(join(tmpdir(), "drillbook-test-archive-"));
    chmodSync(archived, 0o777);
    try {
      const settings = {
        archive_mode: "on",
        archive_command: `touch ${archived}/%f`,
        max_prepared_transactions: 2,
        max_connections: 20,
      };
      await using source = await openSource({ postgres: { major, settings } });
      const { server } = source;
      await server.query("CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id");
      // Only for the backup: the source itself never reads them.
      await server.query("ALTER SYSTEM SET shared_preload_libraries = 'nonexistent'");
      await server.query("ALTER SYSTEM SET huge_pages = 'on'");
      await server.query("ALTER SYSTEM SET primary_conninfo = 'host=nowhere'");
      await source.backup();
      for (const name of ["shared_preload_libraries", "huge_pages", "primary_conninfo"]) {
        await server.query(`ALTER SYSTEM RESET ${name}`);
      }
      await server.restart({
        max_connections: 150,
        max_prepared_transactions: 50,
        max_locks_per_transaction: 128,
      });
      const client = await server.client();
      for (let number = 0; number < 40; number += 1) {
        await client.query("BEGIN");
        await client.query("INSERT INTO orders VALUES ($1)", [number]);
        await client.query(`PREPARE TRANSACTION 'number ${number}'`);
      }
      await client.query("INSERT INTO orders SELECT generate_series(1001, 2000)");
      await source.backup("wal");

      const recovered = await source.recover("latest");
      try {
        expect(await ask(recovered, "SELECT count(*) FROM orders")).toBe("2000");
        expect(await ask(recovered, "SELECT count(*) FROM pg_prepared_xacts")).toBe("40");
        expect(await ask(recovered, "SHOW shared_preload_libraries")).toBe("");
        expect(await ask(recovered, "SHOW archive_mode")).toBe("off");
        await ask(recovered, "CREATE TABLE after_promotion AS SELECT 1");
        await ask(recovered, "SELECT pg_switch_wal()");
      } finally {
        await recovered.dispose();
      }
      expect(readdirSync(archived).length).toBeGreaterThan(0);
      expect(readdirSync(archived).filter((name) => name.startsWith("00000002"))).toEqual([]);
    } finally {
      rmSync(archived, { recursive: true, force: true });
    }
  });

  test("can be lowered, and other settings of the runbook count, but not those that make a recovery exact", async () => {
    await using source = await openSource({ postgres: { major, settings: { max_connections: 200 } } });
    await source.server.query("CREATE TABLE orders AS SELECT 1 AS id");
    await source.backup();
    const server = { "bin-dir": source.server.binDir };
    const lowered = withConfig(source, {
      server: { ...server, settings: { max_connections: 7, work_mem: "8MB" } },
    });
    const recovered = await source.recover("latest", { setting: lowered });
    try {
      expect(await ask(recovered, "SHOW max_connections")).toBe("7");
      expect(await ask(recovered, "SHOW work_mem")).toBe("8MB");
    } finally {
      await recovered.dispose();
    }

    await using context = await roomContext();
    const unknown = withConfig(source, { server: { ...server, settings: { no_such_setting: 1 } } });
    const error = await source
      .recover("latest", { setting: unknown, context })
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ToolError);
    expect((error as Error).message).toContain('unrecognized configuration parameter "no_such_setting"');
    const harmful = { server: { ...server, settings: { zero_damaged_pages: true } } };
    expect(() => withConfig(source, harmful)).toThrow(/is decided by the recovery itself/);
    expect(context.remains()).toEqual([]);
  });
});

test.each([1, 64])("a cluster with segments of %i MiB is recovered", async (size) => {
  const initdbArgs = [`--wal-segsize=${size}`];
  await using source = await openSource({
    postgres: { major: 15, initdbArgs, settings: { max_wal_size: "1GB" } },
  });
  await source.server.query("CREATE TABLE orders (id int)");
  await source.backup();
  await source.server.query("INSERT INTO orders SELECT generate_series(1, 100000)");
  await source.backup("wal");
  const recovered = await source.recover("latest");
  try {
    expect(await ask(recovered, "SELECT count(*) FROM orders")).toBe("100000");
  } finally {
    await recovered.dispose();
  }
});

test("a port that somebody else took in the meantime is not the end", async () => {
  await using source = await openSource({ postgres: { major: 15 } });
  await source.backup();
  await using context = await roomContext();
  const { setting } = source;
  const plan = await planRecovery(
    setting,
    { target: { kind: "latest" }, backupId: undefined, now: new Date() },
    context.signal,
  );
  const user = await findRunUser();
  const scratch = await createScratch(user, context);
  const wish = { runtime: "local", binDir: source.server.binDir, image: undefined } as const;
  const runtime = await chooseRuntime(wish, 15, scratch, context);
  const { walSegmentBytes: segmentBytes } = plan.details;
  const segments = plan.segments.map((segment) => segmentFile(setting, segment, plan.details));
  const window = await startWalWindow({ scratch, segments, histories: [], segmentBytes, context });
  try {
    await restoreDataFolder(setting, plan.manifest, plan.details, scratch, context);
    const free = await freePort();
    // The source itself holds the first one.
    const ports = [source.server.port, free];
    const choosePort = async () => ports.shift() ?? 0;
    const replayed = await replay({
      setting,
      plan,
      runtime,
      scratch,
      window,
      extra: {},
      role: "r",
      context,
      choosePort,
    });
    expect(replayed.port).toBe(free);
    await replayed.server.stop();
  } finally {
    await window.stop();
    await scratch.remove();
  }
  expect(context.remains()).toEqual([]);
});

test("the server programs must be of the backup's major version", async () => {
  await using source = await openSource({ postgres: { major: 18 } });
  await source.backup();
  await using context = await roomContext({ env: { PATH: "/nowhere" } });
  const { binDir } = source.server;
  const none = withConfig(source, { server: { "bin-dir": "/nowhere" } });
  await expect(source.recover("latest", { setting: none, context })).rejects.toThrow(
    /server\.bin-dir is \/nowhere/,
  );
  const other = withConfig(source, { server: { "bin-dir": await binDirOf(15) } });
  await expect(source.recover("latest", { setting: other, context })).rejects.toThrow(
    /PostgreSQL 15\.\S+, but the backup is of PostgreSQL 18/,
  );
  const automatic = withConfig(source, { server: {} });
  const error = await source
    .recover("latest", { setting: automatic, context })
    .catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(ToolError);
  expect((error as Error).message).toMatch(/postgresql-18.*server\.bin-dir/);

  // Found in PATH.
  await using withPath = await roomContext({ env: { PATH: `/usr/bin:${binDir}` } });
  const recovered = await source.recover("latest", { setting: automatic, context: withPath });
  await recovered.dispose();
  expect([...context.remains(), ...withPath.remains()]).toEqual([]);
});
