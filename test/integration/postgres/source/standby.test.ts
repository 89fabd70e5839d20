import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { manifestKey } from "../../../../src/catalog/layout.ts";
import { lsn } from "../../../../src/catalog/lsn.ts";
import { AbortedError, ToolError, UserError } from "../../../../src/errors.ts";
import { backupPostgres } from "../../../../src/postgres/backup.ts";
import { recoverPostgres } from "../../../../src/postgres/recovery/recover.ts";
import { connect } from "../../../../src/postgres/source/connection.ts";
import { waitForStandby, watchPull } from "../../../../src/postgres/source/standby.ts";
import { parseUri } from "../../../../src/postgres/source/uri.ts";
import type { PullResult } from "../../../../src/postgres/wal/wal-pull.ts";
import { parseTarget } from "../../../../src/targets.ts";
import { byNight } from "../../../support/nightly.ts";
import { startPostgres, startStandby, type TestPostgres } from "../../../support/postgres.ts";
import { censusOfBackup, databaseIn } from "../census/censuses.ts";
import { alterObject, ask } from "../recovering.ts";
import { detailsOf, keysOf } from "../taking.ts";
import { clock, complaints, openPair, type Pair, place, recovering, refusal } from "./pairs.ts";

describe.each(byNight([14, 15, 18]))("a standby of PostgreSQL %i as the source", (major) => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await openPair(major);
  });
  afterAll(async () => {
    await pair[Symbol.asyncDispose]();
  });

  test("gives base backup and WAL, and its primary the end of each run", async () => {
    const { primary, standby } = pair;
    await using here = await place(standby, primary.url);
    const manifest = await here.backup();
    expect(detailsOf(manifest)).toMatchObject({ fromStandby: true });
    expect(detailsOf(manifest).restorePoint?.name).toMatch(/^drillbook-/);
    await primary.query("INSERT INTO orders SELECT g, 'later' FROM generate_series(1001, 2000) g");
    await sleep(5);
    const before = await clock(primary);
    await sleep(5);
    await primary.query("DELETE FROM orders WHERE id > 1500");
    await here.backup("wal");
    const slots = "SELECT slot_name FROM pg_replication_slots";
    expect(await standby.query(slots)).toEqual([{ slot_name: "drillbook" }]);
    expect(await primary.query(slots)).toEqual([]);
    expect(here.context.lines.filter((line) => line.startsWith("warning"))).toEqual([]);

    for (const [target, rows] of [
      ["immediate", "1000"],
      [before, "2000"],
      ["latest", "1500"],
    ] as const) {
      await using context = await recovering(here.recover(target));
      expect(await ask(context.recovered, "SELECT count(*) FROM orders")).toBe(rows);
      if (target === "immediate") expect(await complaints(context.recovered)).toEqual([]);
    }
    await here.backup();
    await using last = await recovering(here.recover("latest"));
    expect(await ask(last.recovered, "SELECT count(*) FROM orders")).toBe("1500");
    expect(await complaints(last.recovered)).toEqual([]);
  });

  test("serves another store too, into which the WAL before its slot must go as well", async () => {
    const { primary, standby } = pair;
    const [ahead] = await standby.query<{ ahead: boolean }>(
      "SELECT restart_lsn > (SELECT redo_lsn FROM pg_control_checkpoint()) AS ahead FROM pg_replication_slots",
    );
    expect(ahead).toEqual({ ahead: true });
    await using here = await place(standby, primary.url);
    const manifest = await here.backup();
    await using context = await recovering(here.recover("immediate"));
    expect(await complaints(context.recovered)).toEqual([]);
    const slots = "SELECT slot_name FROM pg_replication_slots";
    expect(await standby.query(slots)).toEqual([{ slot_name: "drillbook" }]);

    // PostgreSQL says so itself: the end that it names may be later than what the files need.
    const { restorePoint, fromStandby, ...details } = detailsOf(manifest);
    const stopLsn = restorePoint?.lsn ?? "";
    for (const [changed, sentence] of [
      [{ ...details, fromStandby, stopLsn }, undefined],
      [{ ...details, stopLsn }, /was promoted before the end of the backup/],
    ] as const) {
      await alterObject(here.store, manifestKey("db", manifest?.id ?? ""), () =>
        Buffer.from(JSON.stringify({ ...manifest, details: { ...changed, restorePoint } })),
      );
      if (sentence !== undefined)
        expect((await refusal(here.recover("immediate"))).message).toMatch(sentence);
      else await (await here.recover("immediate")).dispose();
    }
  });

  test("alone can be recovered to the end of the backup, which it says", async () => {
    const { primary, standby } = pair;
    await using here = await place(standby);
    const work = here.backup();
    work.catch(() => undefined);
    // The primary of a run like this fills its segments by itself.
    let running = true;
    const filling = (async () => {
      while (running) {
        await primary.query("SELECT txid_current()");
        await primary.query("SELECT pg_switch_wal()");
        await sleep(200);
      }
    })();
    const manifest = await work.finally(() => {
      running = false;
    });
    await filling;
    expect(detailsOf(manifest).restorePoint).toBeNull();
    expect(here.context.lines.join("\n")).toMatch(
      /warning: .* is a standby and the runbook names no primary, so .*"latest" and times are not possible/,
    );
    await using context = await recovering(here.recover("immediate"));
    expect(await ask(context.recovered, "SELECT max(id) >= 1000 FROM orders")).toBe("t");
    expect(await complaints(context.recovered)).toEqual([]);
    expect((await refusal(here.recover("latest"))).message).toMatch(/ends in no named restore point/);
    await here.backup("wal");
    await standby.query("SELECT pg_drop_replication_slot('drillbook')");
  });

  test("is told apart from what is not its primary", async () => {
    const { primary, standby } = pair;
    await using another = await startPostgres({ major });
    for (const [url, sentence] of [
      [another.url, /key primary names .* which is the cluster \d+, but the standby .* of the cluster \d+/],
      [standby.url, /key primary names .* which is a standby too: name the server that writes/],
      ["nonsense", /The key primary of "db" is of no use\. The connection is not a PostgreSQL URI/],
    ] as const) {
      await using here = await place(standby, url);
      const error = await refusal(here.backup());
      expect(error).toBeInstanceOf(UserError);
      expect(error.message).toMatch(sentence);
      expect(error.message).not.toContain(primary.password);
      expect(await keysOf(here.store)).toEqual([]);
    }
    // After a failover backups go on; the runbook is out of date, and that is said.
    await using here = await place(primary, standby.url);
    expect(detailsOf(await here.backup()).restorePoint).not.toBeNull();
    expect(here.context.lines.join("\n")).toMatch(/warning: .* is a primary itself, so the key primary/);
    await primary.query("SELECT pg_drop_replication_slot('drillbook')");
  });

  test("that receives nothing more is given up with a sentence", async () => {
    const { standby } = pair;
    await using here = await place(standby);
    const sql = await connect(parseUri(standby.url, {}), "sql", here.context);
    try {
      const wait = (primaryKnown: boolean) =>
        waitForStandby(
          { sql, primaryKnown, segmentBytes: 2 ** 24, patienceMs: 600 },
          2n ** 60n,
          "received",
          here.context,
        );
      expect((await refusal(wait(true))).message).toMatch(
        /has received WAL up to .* needs it up to .*still follows its primary/,
      );
      const alone = await refusal(wait(false));
      expect(alone).toBeInstanceOf(ToolError);
      expect(alone.message).toMatch(/component's key primary, or set archive_timeout there/);

      // The same for a run whose pull waits for WAL that does not come.
      const never = Promise.withResolvers<PullResult>();
      const pull = watchPull(
        {
          hold: () => undefined,
          finish: () => undefined,
          shipsPartials: true,
          mark: () => Promise.reject(new AbortedError()),
          done: never.promise,
          stop: async () => never.reject(new AbortedError()),
        },
        { sql, primaryKnown: true, segmentBytes: 2 ** 24, patienceMs: 600 },
        here.context,
      );
      pull.finish({ through: 2n ** 60n, point: undefined });
      expect((await refusal(pull.done)).message).toMatch(
        /has received WAL up to .*still follows its primary/,
      );
    } finally {
      await sql.close();
    }
  });

  test("with roles that may do no more than they must, and the primary's need not replicate", async () => {
    const { primary, standby } = pair;
    await primary.query("CREATE ROLE taker LOGIN REPLICATION PASSWORD 'of-the-test'");
    await primary.query("GRANT pg_read_all_data TO taker");
    await primary.query("CREATE ROLE marker LOGIN PASSWORD 'of-the-test'");
    const as = (server: TestPostgres, role: string) =>
      `postgres://${role}:of-the-test@127.0.0.1:${server.port}/postgres`;
    await expect
      .poll(() => standby.query("SELECT count(*)::int AS n FROM pg_roles WHERE rolname = 'marker'"))
      .toEqual([{ n: 1 }]);
    const taker = { ...standby, url: as(standby, "taker"), binDir: standby.binDir } as TestPostgres;
    {
      await using here = await place(taker, as(primary, "marker"));
      const work = here.backup("wal");
      await work;
      expect(here.context.lines.join("\n")).toMatch(
        /GRANT EXECUTE ON FUNCTION pg_create_restore_point\(text\), pg_switch_wal\(\) TO marker/,
      );
    }
    await primary.query("GRANT EXECUTE ON FUNCTION pg_create_restore_point(text), pg_switch_wal() TO marker");
    await using here = await place(taker, as(primary, "marker"));
    expect(detailsOf(await here.backup()).restorePoint).not.toBeNull();
    await using context = await recovering(here.recover("latest"));
    expect(await complaints(context.recovered)).toEqual([]);
    await standby.query("SELECT pg_drop_replication_slot('drillbook')");
  });

  test("that is promoted during the base backup makes it fail, and nothing is left", async () => {
    const { primary, standby } = pair;
    await primary.query(
      "CREATE TABLE filler AS SELECT g AS id, repeat(md5(g::text), 20) AS t FROM generate_series(1, 60000) g",
    );
    const gate = Promise.withResolvers<void>();
    const started = Promise.withResolvers<void>();
    await using here = await place(standby, primary.url, (store) => ({
      ...store,
      async put(key, body, options) {
        if (!key.includes("/base.tar")) return await store.put(key, body, options);
        async function* slow(): AsyncGenerator<Uint8Array> {
          for await (const chunk of body) {
            started.resolve();
            await gate.promise;
            yield chunk;
          }
        }
        return await store.put(key, slow(), options);
      },
    }));
    const work = refusal(here.backup());
    await started.promise;
    await standby.query("SELECT pg_promote()");
    await expect.poll(() => standby.query("SELECT pg_is_in_recovery() AS r")).toEqual([{ r: false }]);
    gate.resolve();
    const error = await work;
    expect(error).toBeInstanceOf(ToolError);
    expect(error.message).toMatch(
      /was promoted during the base backup, which is of no use|ended timeline 1 .*it was promoted/,
    );
    expect(await keysOf(here.store, "db/backups/")).toEqual([]);
    await expect
      .poll(() => standby.query("SELECT pid FROM pg_stat_activity WHERE application_name = 'drillbook'"))
      .toEqual([]);

    // It writes for itself now, so the former primary's timeline is another one.
    const swapped = await startStandby(standby).catch(() => undefined);
    if (swapped === undefined) throw new Error("no standby of the promoted server");
    try {
      await using other = await place(swapped, primary.url);
      expect((await refusal(other.backup())).message).toMatch(
        /is on timeline 1, but the standby at .* on timeline 2: run the action again/,
      );
    } finally {
      await swapped[Symbol.asyncDispose]();
    }
  });
});

test("a delayed standby's backup does not claim what its replay had not reached", async () => {
  await using pair = await openPair(18, { recovery_min_apply_delay: "1h" });
  const { primary, standby } = pair;
  await using here = await place(standby, primary.url);
  await primary.query("INSERT INTO orders VALUES (5000, 'not replayed')");
  const after = await clock(primary);
  const setting = { ...here.setting, config: { ...here.setting.config, census: false as const, checks: [] } };
  await backupPostgres(setting, "full", here.context);
  await using context = await recovering(
    recoverPostgres(
      setting,
      { target: parseTarget("immediate"), backupId: undefined, now: new Date() },
      here.context,
    ),
  );
  expect(await ask(context.recovered, "SELECT count(*) FROM orders WHERE id = 5000")).toBe("0");
  const { lastCommitBefore, completeUntil } = context.recovered.reached;
  expect(lastCommitBefore ?? completeUntil ?? "").not.toBe("");
  expect((lastCommitBefore ?? completeUntil ?? "") < after).toBe(true);
  await using latest = await recovering(here.recover("latest"));
  expect(await ask(latest.recovered, "SELECT count(*) FROM orders WHERE id = 5000")).toBe("1");
});

test("the census is compared up to the end of the run, however late the standby replays it", async () => {
  await using pair = await openPair(18, { recovery_min_apply_delay: "3s" });
  await using here = await place(pair.standby, pair.primary.url);
  const manifest = await here.backup();
  const { steady } = databaseIn(await censusOfBackup(here.setting, manifest), "postgres");
  const { startLsn, stopLsn, restorePoint } = detailsOf(manifest);
  expect(lsn(steady.from)).toBeLessThanOrEqual(lsn(stopLsn));
  expect(lsn(steady.to)).toBeGreaterThanOrEqual(lsn(restorePoint?.lsn ?? ""));
  expect(lsn(stopLsn)).toBeGreaterThanOrEqual(lsn(startLsn));
  expect(here.context.lines.filter((line) => line.startsWith("warning"))).toEqual([]);
});

test("a primary that went another way on a timeline of the same number is found out", async () => {
  await using pair = await openPair(18);
  const { primary, standby } = pair;
  // Both are promoted on their own: they agree on cluster and timeline, and on nothing else.
  await using follower = await startStandby(standby, {});
  await standby.query("SELECT pg_promote()");
  await primary.stop();
  await primary.restart({ hot_standby: "on" });
  await expect.poll(() => follower.query("SELECT pg_is_in_recovery() AS r")).toEqual([{ r: true }]);
  await using twin = await startStandby(primary);
  await twin.query("SELECT pg_promote()");
  await twin.query("CREATE TABLE only_here AS SELECT generate_series(1, 100000) AS id");
  await standby.query("CREATE TABLE only_there AS SELECT generate_series(1, 900000) AS id");
  await expect
    .poll(() => follower.query("SELECT received_tli FROM pg_stat_wal_receiver"), { timeout: 20_000 })
    .toEqual([{ received_tli: 2 }]);
  await using here = await place(follower, twin.url);
  const error = await refusal(here.backup());
  expect(error).toBeInstanceOf(ToolError);
  expect(error.message).toMatch(/does not hold the restore point .* went separate ways/);
  expect(await keysOf(here.store, "db/backups/")).toEqual([]);
});
