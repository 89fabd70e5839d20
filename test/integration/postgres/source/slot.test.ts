import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { BackupOutcome } from "../../../../src/component.ts";
import { ToolError } from "../../../../src/errors.ts";
import { backupPostgres } from "../../../../src/postgres/backup.ts";
import type { Store } from "../../../../src/stores/store.ts";
import { testContext } from "../../../support/context.ts";
import { byNight } from "../../../support/nightly.ts";
import { startPostgres, type TestPostgres } from "../../../support/postgres.ts";
import { type Taking, taking } from "../taking.ts";

const MIB = 2 ** 20;

async function writeWal(server: TestPostgres, mib: number): Promise<void> {
  await server.query(
    `INSERT INTO noise SELECT repeat(md5(g::text), 30) FROM generate_series(1, ${mib * 950}) g`,
  );
}

async function set(server: TestPostgres, settings: Readonly<Record<string, string>>): Promise<void> {
  await server.query("ALTER SYSTEM RESET ALL");
  for (const [name, value] of Object.entries(settings)) {
    await server.query(`ALTER SYSTEM SET ${name} = '${value}'`);
  }
  await server.query("SELECT pg_reload_conf()");
  await sleep(200);
}

describe.each(byNight([14, 15, 18]))("the slot of PostgreSQL %i", (major) => {
  let server: TestPostgres;
  let here: Taking;

  beforeAll(async () => {
    server = await startPostgres({
      major,
      initdbArgs: ["--wal-segsize=1"],
      settings: { min_wal_size: "2MB", max_wal_size: "1GB", wal_keep_size: 0, checkpoint_timeout: "1h" },
    });
    await server.query("CREATE TABLE noise (line text)");
    here = await taking({ url: server.url });
    await backupPostgres(here.setting, "wal", here.context);
  });
  afterAll(async () => {
    await here[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  /** A run's outcome, and its warnings. */
  async function run(): Promise<{ outcome: BackupOutcome; warnings: string[]; lines: string[] }> {
    await using context = await testContext();
    const outcome = await backupPostgres(here.setting, "wal", context);
    return {
      outcome,
      warnings: context.lines.filter((line) => line.startsWith("warning:")),
      lines: context.lines,
    };
  }

  test("is reported with what it keeps, and a missing limit is no warning", async () => {
    await set(server, {});
    await writeWal(server, 3);
    const { outcome, warnings, lines } = await run();
    expect(warnings).toEqual([]);
    expect(outcome.slot).toMatchObject({ name: "drillbook", walStatus: "reserved", maxKeepBytes: null });
    expect(outcome.slot?.retainedBytes).toBeGreaterThan(2 * MIB);
    expect(lines.join("\n")).toMatch(
      /info: db: The slot "drillbook" keeps .*MiB of WAL from .* \(reserved\)/,
    );
    expect(lines.join("\n")).toMatch(/info: db: Nothing limits the WAL.*SET max_slot_wal_keep_size = '16GB'/);
    expect(outcome.notes?.map((note) => note.severity)).toEqual(["notice", "notice"]);
  });

  test("that keeps more than max_wal_size is a warning, until a run has read it", async () => {
    await set(server, { max_wal_size: "4MB" });
    await writeWal(server, 12);
    const { outcome, warnings } = await run();
    expect(outcome.slot?.walStatus).toBe("extended");
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/keeps more WAL than max_wal_size, 1\d\.\d MiB now/);
    expect((await run()).warnings).toEqual([]);
  });

  test("that keeps more than half of its limit is a warning, until a run has read it", async () => {
    await set(server, { max_slot_wal_keep_size: "20MB" });
    await writeWal(server, 12);
    const { outcome, warnings, lines } = await run();
    expect(outcome.slot).toMatchObject({ walStatus: "reserved", maxKeepBytes: 20 * MIB });
    expect(outcome.slot?.safeBytes).toBeGreaterThan(0);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/keeps more than half of the WAL that the server allows.*20\.0 MiB/);
    expect(lines.join("\n")).not.toContain("Nothing limits");
    expect((await run()).warnings).toEqual([]);
  });

  test("that the next checkpoint takes WAL from is a warning", async () => {
    await set(server, { max_slot_wal_keep_size: "3MB" });
    await writeWal(server, 12);
    const { outcome, warnings } = await run();
    expect(outcome.slot?.walStatus).toBe("unreserved");
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/is about to lose its WAL.*raise max_slot_wal_keep_size/);
    expect((await run()).warnings).toEqual([]);
  });

  test.each(["wal", "full"] as const)(
    "that is lost while a run of kind %s reads it names the setting",
    async (kind) => {
      await set(server, { max_slot_wal_keep_size: "3MB" });
      await backupPostgres(here.setting, "full", here.context);
      await writeWal(server, 8);
      const { store } = here;
      let lost: Promise<void> | undefined;
      async function loseSlot(): Promise<void> {
        await writeWal(server, 30);
        // Not awaited: it waits for the process that sends the WAL, which waits for us.
        server.query("CHECKPOINT").catch(() => undefined);
        await sleep(1_000);
      }
      const slow: Store = {
        ...store,
        async put(key, body, options) {
          lost ??= loseSlot();
          if (key.includes("/wal/")) await lost;
          return await store.put(key, body, options);
        },
      };
      const error = await backupPostgres({ ...here.setting, store: slow }, kind, here.context).catch(
        (thrown: unknown) => thrown,
      );
      expect(error).toBeInstanceOf(ToolError);
      expect(String(error)).toMatch(
        /slot "drillbook" at .* lost its WAL while this run was reading it.*\(max_slot_wal_keep_size, 3\.00 MiB\): set max_slot_wal_keep_size/,
      );
      await set(server, {});
      await backupPostgres(here.setting, "full", here.context);
    },
  );
});
