import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { BackupManifest } from "../../../../src/catalog/manifest.ts";
import { UserError } from "../../../../src/errors.ts";
import { restoreDataFolder } from "../../../../src/postgres/recovery/fetch-data.ts";
import { findRunUser } from "../../../../src/postgres/scratch/run-user.ts";
import { createScratch } from "../../../../src/postgres/scratch/scratch.ts";
import { formatMicros, parseTime } from "../../../../src/targets.ts";
import { byNight } from "../../../support/nightly.ts";
import { ask, openSource, roomContext, type Source, spiedStore } from "../recovering.ts";
import { detailsOf } from "../taking.ts";

/**
 * One source with this history, each step a second transaction later: 1000 orders | backup 1 | 2000 orders, `before` |
 * all deleted, WAL archived | backup 2.
 */
describe.each(byNight([14, 15, 18]))("a recovery of PostgreSQL %i", (major) => {
  let source: Source;
  let tablespaces: string[];
  let first: BackupManifest | undefined;
  let second: BackupManifest | undefined;
  let before: string;

  beforeAll(async () => {
    source = await openSource({ postgres: { major } });
    const { server } = source;
    tablespaces = ["one", "two"].map(() => mkdtempSync(join(tmpdir(), "drillbook-test-space-")));
    for (const [index, folder] of tablespaces.entries()) {
      if (server.user !== undefined) chownSync(folder, server.user.uid, server.user.gid);
      await server.query(`CREATE TABLESPACE space_${index} LOCATION '${folder}'`);
      await server.query(
        `CREATE TABLE in_space_${index} TABLESPACE space_${index} AS SELECT generate_series(1, 500) AS id`,
      );
    }
    await server.query("CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id");
    first = await source.backup();
    await server.query("INSERT INTO orders SELECT generate_series(1001, 2000)");
    await server.query("INSERT INTO in_space_1 VALUES (501)");
    await sleep(5);
    before = await source.clock();
    await sleep(5);
    await server.query("DELETE FROM orders");
    await source.backup("wal");
    second = await source.backup();
  });

  afterAll(async () => {
    await source[Symbol.asyncDispose]();
    for (const folder of tablespaces) rmSync(folder, { recursive: true, force: true });
  });

  test("to a time holds every commit before it and none after, with all tablespaces", async () => {
    const recovered = await source.recover(before);
    try {
      expect(recovered.backupId).toBe(first?.id);
      expect(await ask(recovered, "SELECT count(*) FROM orders")).toBe("2000");
      expect(await ask(recovered, "SELECT count(*) FROM in_space_0")).toBe("500");
      expect(await ask(recovered, "SELECT count(*) FROM in_space_1")).toBe("501");
      expect(
        await ask(
          recovered,
          "SELECT count(*) FROM pg_tablespace WHERE pg_tablespace_location(oid) LIKE '%drillbook-pg-%'",
        ),
      ).toBe("2");
      const { reached } = recovered;
      expect(parseTime(reached.lastCommitBefore ?? "")).toBeLessThan(parseTime(before) ?? 0n);
      expect(parseTime(reached.firstCommitAfter ?? "")).toBeGreaterThan(parseTime(before) ?? 0n);
      expect(reached.time).toBe(before);
      expect(reached.timeline).toBe(2);
      expect(recovered.phases.map((phase) => phase.name)).toEqual(["plan", "fetch", "start", "replay"]);
      expect(recovered.facts.postgres).toContain(`${major}.`);
    } finally {
      await recovered.dispose();
    }
    // The source's own folders are untouched.
    expect(await source.server.query("SELECT count(*)::int AS n FROM in_space_1")).toEqual([{ n: 501 }]);
  });

  test("to the first and the last microsecond of the recoverable window", async () => {
    const { stopTime, restorePoint } = detailsOf(second);
    const earliest = (parseTime(stopTime) ?? 0n) + 1n;
    for (const micros of [earliest, parseTime(restorePoint?.time ?? "") ?? 0n]) {
      const recovered = await source.recover(formatMicros(micros), { backupId: second?.id ?? "" });
      await recovered.dispose();
      expect(parseTime(recovered.reached.time ?? "")).toBe(micros);
    }
  });

  test("to a while ago counts back from the given moment", async () => {
    const now = new Date(Number((parseTime(before) ?? 0n) / 1000n) + 120_000);
    const recovered = await source.recover("-2m", { now });
    try {
      expect(await ask(recovered, "SELECT count(*) FROM orders")).toBe("2000");
    } finally {
      await recovered.dispose();
    }
  });

  test("to latest ends at the newest restore point, whatever backup it starts from", async () => {
    for (const backup of [first, second]) {
      const recovered = await source.recover("latest", { backupId: backup?.id ?? "" });
      try {
        expect(recovered.target).toBe(`restore point ${detailsOf(second).restorePoint?.name}`);
        expect(recovered.reached.lsn).toBe(detailsOf(second).restorePoint?.lsn);
        expect(await ask(recovered, "SELECT count(*) FROM orders")).toBe("0");
      } finally {
        await recovered.dispose();
      }
    }
  });

  test("to immediate ends at the end of the backup", async () => {
    const recovered = await source.recover("immediate", { backupId: first?.id ?? "" });
    try {
      expect(recovered.target).toBe("immediate");
      expect(recovered.reached).toMatchObject({
        lsn: detailsOf(first).stopLsn,
        time: null,
        firstCommitAfter: null,
        completeUntil: detailsOf(first).startTime,
      });
      expect(await ask(recovered, "SELECT count(*) FROM orders")).toBe("1000");
      expect(await ask(recovered, "SELECT count(*) FROM in_space_1")).toBe("500");
    } finally {
      await recovered.dispose();
    }
  });

  test("runs with its own settings, on loopback alone, and archives nothing", async () => {
    const recovered = await source.recover("latest");
    try {
      const settings =
        "archive_mode, listen_addresses, shared_preload_libraries, hot_standby, fsync, lc_messages".split(
          ", ",
        );
      const values = await Promise.all(settings.map((name) => ask(recovered, `SHOW ${name}`)));
      expect(values).toEqual(["off", "127.0.0.1", "", "off", "off", "C"]);
      expect(
        await ask(recovered, "SELECT count(*) FROM pg_file_settings WHERE sourcefile LIKE '%auto.conf'"),
      ).toBe("0");
    } finally {
      await recovered.dispose();
    }
  });

  test("lets nobody else in over TCP", async () => {
    const recovered = await source.recover("latest");
    try {
      const { access } = recovered;
      const url = access.url ?? "";
      const asSuperuser = url.replace(/\/\/[^@]+@/, "//postgres:@");
      const wrong = url.replace(access.password ?? "-", "wrong");
      await expect(ask({ ...recovered, access: { url: asSuperuser } }, "SELECT 1")).rejects.toThrow(
        /pg_hba.conf/,
      );
      await expect(ask({ ...recovered, access: { url: wrong } }, "SELECT 1")).rejects.toThrow(/password/);
      expect(source.taking.context.masked).toContain(access.password);
    } finally {
      await recovered.dispose();
    }
  });

  test("leaves no process and no folder, and can be ended twice", async () => {
    await using context = await roomContext();
    const recovered = await source.recover("latest", { context });
    expect(context.remains().length).toBeGreaterThan(0);
    await recovered.dispose();
    await recovered.dispose();
    expect(context.remains()).toEqual([]);
    await expect(ask(recovered, "SELECT 1")).rejects.toThrow();
  });

  test("keeps the server when asked to and says how to reach and stop it", async () => {
    await using context = await roomContext();
    const recovered = await source.recover("latest", { context });
    await recovered.dispose({ keep: true });
    // What the caller does at the end.
    rmSync(context.workDir, { recursive: true });
    const line = context.lines.find((text) => text.includes("keeps running")) ?? "";
    const [, socket, port, pid, folder] =
      /psql -h (\S+) -p (\d+) .*kill -INT (\d+)", then remove (\S+)\./.exec(line) ?? [];
    try {
      // What it logs from now on goes nowhere, and must not end it.
      const wrong = { url: (recovered.access.url ?? "").replace(recovered.access.password ?? "-", "wrong") };
      await expect(ask({ ...recovered, access: wrong }, "SELECT 1")).rejects.toThrow(/password/);
      await ask(recovered, "SELECT pg_reload_conf()");
      expect(await ask(recovered, "SELECT count(*) FROM orders")).toBe("0");
      expect(port).toBe(recovered.access.port);
      expect(existsSync(join(socket ?? "", `.s.PGSQL.${port}`))).toBe(true);
    } finally {
      process.kill(Number(pid), "SIGINT");
      while (existsSync(join(folder ?? "-", "data/postmaster.pid"))) await sleep(50);
      rmSync(folder ?? "-", { recursive: true });
    }
    expect(context.remains()).toEqual([]);
  });

  test("finds a folder that the server's user can enter", async () => {
    await using context = await roomContext();
    // As in a home folder of root: beside the work folder nobody else gets through.
    chmodSync(dirname(context.workDir), 0o700);
    const recovered = await source.recover("latest", { context });
    expect(await ask(recovered, "SELECT count(*) FROM orders")).toBe("0");
    const folder = String(await ask(recovered, "SHOW data_directory"));
    await recovered.dispose();
    if (process.getuid?.() === 0) expect(folder.startsWith(context.workDir.slice(0, -5))).toBe(false);
    expect(existsSync(folder)).toBe(false);
    expect(context.remains()).toEqual([]);
  });

  describe("is refused before anything but small documents is read", () => {
    async function refusal(target: string, backupId?: string): Promise<string> {
      await using context = await roomContext();
      const store = spiedStore(source.taking.store);
      const setting = { ...source.setting, store };
      const error = await source
        .recover(target, { setting, context, ...(backupId === undefined ? {} : { backupId }) })
        .catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(UserError);
      expect(store.reads.filter((key) => !key.endsWith(".json"))).toEqual([]);
      expect(context.remains()).toEqual([]);
      return (error as Error).message;
    }

    test("for a time behind the newest archived point", async () => {
      const to = parseTime(detailsOf(second).restorePoint?.time ?? "") ?? 0n;
      const late = new Date(Number(to / 1000n) + 3_600_000).toISOString();
      const message = await refusal(late);
      expect(message).toMatch(/is (1 h|60 min|59 min \d+ s) later than the newest archived point of db/);
      expect(message).toContain((detailsOf(second).stopTime ?? "").slice(11, 26));
      expect(message).toContain((detailsOf(second).restorePoint?.time ?? "").slice(11, 26));
    });

    test("for a time before the end of the oldest backup", async () => {
      expect(await refusal(detailsOf(first).stopTime)).toMatch(
        /the oldest backup ended at .*choose a time after that/,
      );
      expect(await refusal("2001-01-01T00:00:00Z")).toMatch(/\d+ d \d+ h too early/);
    });

    test("for a time before the end of the backup that was named", async () => {
      expect(await refusal(before, second?.id)).toMatch(/that backup ended at/);
    });

    test("for a backup that does not exist", async () => {
      expect(await refusal("latest", "20200101T000000Z-000000")).toMatch(/There is no backup/);
    });
  });

  const tools = "/usr/lib/postgresql/15/bin";
  const hasTools = existsSync(join(tools, "pg_verifybackup")) && existsSync(join(tools, "pg_amcheck"));
  if (!hasTools && process.env.CI === "true")
    throw new Error("The tests need Debian's PostgreSQL 15 client tools.");

  test.runIf(major === 15 && hasTools)(
    "satisfies pg_verifybackup before it starts (skipped without Debian's PostgreSQL 15)",
    async () => {
      await using context = await roomContext();
      const scratch = await createScratch(await findRunUser(), context);
      try {
        if (first === undefined) throw new Error("no backup");
        const restored = await restoreDataFolder(source.setting, first, detailsOf(first), scratch, context);
        expect(restored.unverifiedFiles).toBe(0);
        execFileSync(join(tools, "pg_verifybackup"), ["-n", scratch.data], { stdio: "pipe" });
        writeFileSync(join(scratch.data, "PG_VERSION"), "16\n");
        expect(() =>
          execFileSync(join(tools, "pg_verifybackup"), ["-n", scratch.data], { stdio: "pipe" }),
        ).toThrow();
      } finally {
        await scratch.remove();
      }
      expect(context.remains()).toEqual([]);
    },
  );

  test.runIf(major === 15 && hasTools)(
    "satisfies pg_amcheck (skipped without Debian's PostgreSQL 15)",
    async () => {
      const recovered = await source.recover(before);
      try {
        const { host, port, user, password } = recovered.access;
        const env = { PGHOST: host, PGPORT: port, PGUSER: user, PGPASSWORD: password };
        execFileSync(join(tools, "pg_amcheck"), ["--all", "--install-missing", "--heapallindexed"], { env });
      } finally {
        await recovered.dispose();
      }
    },
  );
});
