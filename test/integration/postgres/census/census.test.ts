import { existsSync } from "node:fs";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { describe, expect, test } from "vitest";
import { objectKey } from "../../../../src/catalog/layout.ts";
import { lsn } from "../../../../src/catalog/lsn.ts";
import { backupPostgres } from "../../../../src/postgres/backup.ts";
import type { CheckResult } from "../../../../src/record.ts";
import { readAll } from "../../../../src/stores/store.ts";
import { byNight } from "../../../support/nightly.ts";
import { startPostgres } from "../../../support/postgres.ts";
import { alterObject, openSource, type Source, withConfig } from "../recovering.ts";
import { detailsOf, keysOf, taking } from "../taking.ts";
import { censusOfBackup, databaseIn, rowsOf } from "./censuses.ts";

const DEBIAN = "/usr/lib/postgresql/15/bin";

function byName(results: readonly CheckResult[]): Record<string, CheckResult> {
  return Object.fromEntries(results.map((one) => [one.check, one]));
}

async function checked(source: Source, target: string, config: Readonly<Record<string, unknown>> = {}) {
  const recovered = await source.recover(target, { setting: withConfig(source, config) });
  try {
    return {
      recovered,
      results: byName([...(await recovered.check()), ...((await recovered.inspect?.()) ?? [])]),
    };
  } finally {
    await recovered.dispose();
  }
}

async function fill(source: Source): Promise<void> {
  for (const statement of [
    "CREATE TABLE people (id serial PRIMARY KEY, secret text)",
    "INSERT INTO people (secret) SELECT 'hush-' || g FROM generate_series(1, 500) g",
    "CREATE TABLE events (id int, made date) PARTITION BY RANGE (made)",
    "CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
    "CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
    "INSERT INTO events SELECT g, '2026-01-30'::date + g % 4 FROM generate_series(1, 40) g",
    "CREATE SEQUENCE never_used",
    "CREATE UNLOGGED TABLE carts (id int PRIMARY KEY)",
    "INSERT INTO carts SELECT generate_series(1, 100)",
    "CREATE EXTENSION file_fdw",
    "CREATE SERVER files FOREIGN DATA WRAPPER file_fdw",
    "CREATE TABLE far (id serial) PARTITION BY RANGE (id)",
    "CREATE FOREIGN TABLE far_1 PARTITION OF far FOR VALUES FROM (1) TO (9) SERVER files OPTIONS (filename '/dev/null')",
    "CREATE DATABASE other",
  ]) {
    await source.server.query(statement);
  }
  const other = await source.server.client("other");
  await other.query('CREATE TABLE "Far away" AS SELECT generate_series(1, 7) AS id');
  await other.end();
}

describe.each(byNight([15, 18]))("the census of a backup of PostgreSQL %i", (major) => {
  test("has all databases, is sealed, and agrees with each recovery", async () => {
    const identity = await generateX25519Identity();
    const recipients = [await identityToRecipient(identity)];
    const checks = [{ rows: "people" }];
    await using source = await openSource({ postgres: { major }, config: { checks }, recipients, identity });
    await fill(source);
    const manifest = await source.backup();
    const object = manifest?.objects.find((one) => one.name === "census.json.zst.age");
    expect(object).toMatchObject({ role: "file", sealed: true });
    const census = await censusOfBackup(source.setting, manifest);
    expect(rowsOf(census, "postgres")).toEqual({
      "public.people": 500,
      "public.events": 40,
      "public.events_1": 20,
      "public.events_2": 20,
      "public.carts": "it is unlogged, and such a table is empty after a recovery",
      "public.far": "it has foreign partitions",
    });
    expect(rowsOf(census, "other")).toEqual({ 'public."Far away"': 7 });
    expect(census.databases.map((one) => one.name)).toEqual(["postgres", "other", "template1"]);
    expect(databaseIn(census, "postgres").sequences).toEqual([
      { name: "public.far_id_seq", lastValue: null, isCalled: false, behind: false },
      { name: "public.never_used", lastValue: null, isCalled: false, behind: false },
      { name: "public.people_id_seq", lastValue: "500", isCalled: true, behind: false },
    ]);
    expect(census.roles.objects.map((role) => role.name)).toEqual(["postgres"]);
    const { steady } = databaseIn(census, "postgres");
    const { startLsn, restorePoint } = detailsOf(manifest);
    expect(lsn(steady.from)).toBeLessThanOrEqual(lsn(startLsn));
    expect(lsn(steady.to)).toBeGreaterThanOrEqual(lsn(restorePoint?.lsn ?? "0/0"));
    // Neither rows nor names are anywhere in the clear, and rows nowhere at all.
    expect(JSON.stringify(census)).not.toMatch(/hush/);
    const key = objectKey("db", manifest?.id ?? "", "census.json.zst.age");
    expect((await readAll(await source.taking.store.get(key))).toString("latin1")).not.toMatch(/people/);
    expect(JSON.stringify(manifest)).not.toMatch(/people/);

    for (const target of ["latest", "immediate"]) {
      const { results } = await checked(source, target, { checks });
      for (const { check, status, actual } of Object.values(results)) {
        expect({ target, check, actual, status }).toEqual({ target, check, actual, status: "passed" });
      }
      expect(Object.keys(results)).toHaveLength(12);
      expect(results["schema as in the census"]?.actual).toMatch(/^compared (\d+) of \1 objects$/);
    }
  });

  test("does not blame a recovery for changes after it, and tells them", async () => {
    await using source = await openSource({ postgres: { major } });
    await fill(source);
    await source.backup();
    await source.server.query("DROP TABLE events_2");
    await source.server.query("ALTER TABLE people ADD born date");
    await source.backup("wal");
    const { results } = await checked(source, "latest");
    expect(results["schema as in the census"]).toMatchObject({
      status: "passed",
      actual: expect.stringMatching(
        /, 2 different, which changes in the source after the census may explain$/,
      ),
      lines: ["postgres: table public.events_2 is not there", "postgres: column public.people.born is new"],
    });
    // Before the changes there is nothing to tell.
    const { results: before } = await checked(source, "immediate");
    expect(before["schema as in the census"]).toMatchObject({ status: "passed" });
    expect(before["schema as in the census"]?.lines).toBeUndefined();
  });

  test("holds from the last change of the schema on, when it changed during the backup", async () => {
    await using server = await startPostgres({ major });
    await server.query("CREATE TABLE people AS SELECT 1 AS id");
    await using here = await taking({ url: server.url });
    let changed: Promise<unknown> | undefined;
    const context = {
      ...here.context,
      log: {
        ...here.context.log,
        info(line: string) {
          if (line.startsWith("Base backup: waiting")) changed = server.query("CREATE TABLE later (id int)");
          here.context.log.info(line);
        },
      },
    };
    const { manifest } = await backupPostgres(here.setting, "full", context);
    await changed;
    const {
      steady,
      lsn: taken,
      objects,
    } = databaseIn(await censusOfBackup(here.setting, manifest), "postgres");
    expect(objects.some((one) => one.name === "public.later")).toBe(true);
    expect(steady.from).toBe(taken);
    expect(lsn(steady.to)).toBeGreaterThan(lsn(taken));
  });

  test("says what the role may not see, and counts nothing that is hidden from it", async () => {
    await using server = await startPostgres({ major });
    for (const statement of [
      "CREATE ROLE small LOGIN REPLICATION PASSWORD 'pw'",
      "CREATE TABLE open AS SELECT generate_series(1, 3) AS id",
      "GRANT SELECT ON open TO small",
      "CREATE TABLE closed (id serial)",
      "CREATE TABLE hidden AS SELECT generate_series(1, 10) AS id",
      "GRANT SELECT ON hidden TO small",
      "ALTER TABLE hidden ENABLE ROW LEVEL SECURITY",
      "CREATE POLICY half ON hidden TO small USING (id > 5)",
      "CREATE SCHEMA inner_room",
      "CREATE TABLE inner_room.t (id int)",
      "CREATE DATABASE locked",
      "REVOKE CONNECT ON DATABASE locked FROM public",
      "CREATE DATABASE barred",
    ]) {
      await server.query(statement);
    }
    const url = `postgresql://small:pw@127.0.0.1:${server.port}/postgres`;
    await using here = await taking({ url });
    const { manifest } = await backupPostgres(here.setting, "full", here.context);
    const census = await censusOfBackup(here.setting, manifest);
    expect(rowsOf(census, "postgres")).toEqual({
      "public.open": 3,
      "public.closed": "the role may not read it: GRANT SELECT ON public.closed TO small",
      "public.hidden": expect.stringContaining("row-level security"),
      "inner_room.t": "the role may not read it: GRANT USAGE ON SCHEMA inner_room TO small",
    });
    expect(census.databases.map((one) => one.name)).not.toContain("locked");
    expect(databaseIn(census, "postgres").sequences).toEqual([
      { name: "public.closed_id_seq", lastValue: null, isCalled: null, behind: null },
    ]);
    // What cannot be read can still be compared.
    expect(databaseIn(census, "postgres").objects.some((one) => one.name === "public.closed.id")).toBe(true);
    expect(here.context.lines.filter((line) => line.startsWith("warning: The census"))).toEqual([]);
  });

  test("leaves out a database that does not let it in, with a warning", async () => {
    await using server = await startPostgres({ major, hba: ["host barred all 127.0.0.1/32 reject"] });
    await server.query("CREATE DATABASE barred");
    await using here = await taking({ url: server.url });
    const { manifest } = await backupPostgres(here.setting, "full", here.context);
    const census = await censusOfBackup(here.setting, manifest);
    expect(census.databases.find((one) => one.name === "barred")).toEqual({
      name: "barred",
      notCaptured: expect.stringContaining("pg_hba.conf"),
    });
    expect(here.context.lines).toContainEqual(
      expect.stringMatching(/^warning: The census leaves out the database "barred": /),
    );
  });

  test("gives each lock back at once, so that it stops no change of the schema", async () => {
    await using server = await startPostgres({ major });
    await server.query("CREATE TABLE small AS SELECT generate_series(1, 10) AS id");
    await server.query("CREATE TABLE large AS SELECT generate_series(1, 600000) AS id");
    await server.query("CREATE TABLE larger AS SELECT generate_series(1, 600000) AS id");
    await server.query("VACUUM ANALYZE");
    await using here = await taking({ url: server.url });
    const backup = backupPostgres(here.setting, "full", here.context);
    const most: number[] = [];
    let over = false;
    const watch = (async () => {
      const client = await server.client();
      while (!over) {
        const { rows } = await client.query<{ pid: number; n: string }>(
          `SELECT a.pid, count(*) AS n FROM pg_locks l JOIN pg_stat_activity a USING (pid)
           WHERE a.application_name = 'drillbook' AND l.relation IN (SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace)
           GROUP BY a.pid`,
        );
        most.push(...rows.map((row) => Number(row.n)));
      }
      await client.end();
    })();
    await backup;
    over = true;
    await watch;
    expect(most.length).toBeGreaterThan(0);
    expect(Math.max(...most)).toBe(1);
  });

  test("ends with the run that is stopped, and so do its queries", async () => {
    await using server = await startPostgres({ major });
    await server.query("CREATE TABLE people AS SELECT 1 AS id");
    // Nobody can count the table while this lasts.
    const holder = await server.client();
    await holder.query("BEGIN");
    await holder.query("LOCK TABLE people IN ACCESS EXCLUSIVE MODE");
    await using here = await taking({ url: server.url });
    const stop = new AbortController();
    const backup = backupPostgres(here.setting, "full", { ...here.context, signal: stop.signal });
    const outcome = backup.catch((error: unknown) => error);
    const counting = async () =>
      (
        await server.query(
          "SELECT 1 FROM pg_stat_activity WHERE application_name = 'drillbook' AND query ~ 'count' AND state = 'active'",
        )
      ).length;
    while ((await counting()) === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    stop.abort();
    expect(await outcome).toMatchObject({ name: "AbortedError" });
    expect(await keysOf(here.store, "db/backups/")).toEqual([]);
    while ((await counting()) > 0) await new Promise((resolve) => setTimeout(resolve, 50));
  });
});

describe("the census", () => {
  test.each([16, 17])("and all of integrity agree on PostgreSQL %i too", async (major) => {
    const initdbArgs = ["--locale-provider=icu", "--icu-locale=de"];
    await using source = await openSource({ postgres: { major, initdbArgs } });
    await fill(source);
    await source.backup();
    const { results } = await checked(source, "latest");
    for (const { check, status, actual } of Object.values(results)) {
      expect({ check, actual, status }).toEqual({ check, actual, status: "passed" });
    }
    expect(results["integrity: collation versions"]?.actual).toMatch(/^checked [1-9]/);
  });

  test("can be of the schema alone, and still counts the tables of the checks", async () => {
    const config = { census: "schema", checks: [{ rows: "people" }] };
    await using source = await openSource({ config });
    await fill(source);
    const census = await censusOfBackup(source.setting, await source.backup());
    expect(rowsOf(census, "postgres")).toEqual({ "public.people": 500 });
    expect(rowsOf(census, "other")).toEqual({});
    expect(databaseIn(census, "postgres").objects.length).toBeGreaterThan(5);
    const { results } = await checked(source, "latest", { checks: [{ rows: "people" }, { rows: "events" }] });
    expect(results["rows: people"]).toMatchObject({ status: "passed", actual: "500" });
    expect(results["rows: events"]).toMatchObject({
      status: "unverified",
      actual: "not captured: take a backup with this check in the runbook",
    });
  });

  test("answers a check that is newer than the backup", async () => {
    await using source = await openSource();
    await fill(source);
    await source.backup();
    const { results } = await checked(source, "latest", {
      checks: [{ rows: "events" }, { rows: "nowhere" }],
    });
    expect(results["rows: events"]).toMatchObject({ status: "passed", expected: "40", actual: "40" });
    expect(results["rows: nowhere"]).toMatchObject({ status: "unverified" });
  });

  test("can be switched off, which the record says", async () => {
    await using source = await openSource({ config: { census: false } });
    await fill(source);
    const manifest = await source.backup();
    expect(manifest?.objects.map((one) => one.name)).not.toContain("census.json.zst");
    const { results } = await checked(source, "latest");
    for (const check of ["schema as in the census", "roles as in the census"]) {
      expect(results[check]).toMatchObject({ status: "unverified", actual: "the backup has no census" });
    }
    const { results: without, recovered: told } = await checked(source, "latest", { census: false });
    expect(Object.values(without).map((one) => one.status)).toEqual(Array(9).fill("passed"));
    expect(told.facts).toMatchObject({ census: "none, because the runbook switches it off" });
    const { recovered, results: none } = await checked(source, "latest", { integrity: false });
    expect(none).toEqual({});
    expect(recovered.facts).toMatchObject({ integrity: "not checked, because the runbook switches it off" });
  });

  test("that was altered or lost is a failure, not a comparison with less", async () => {
    await using source = await openSource();
    await fill(source);
    const manifest = await source.backup();
    const key = objectKey("db", manifest?.id ?? "", "census.json.zst");
    await alterObject(source.taking.store, key, (bytes) => {
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
      return bytes;
    });
    const { results } = await checked(source, "latest");
    expect(results.census).toMatchObject({
      status: "failed",
      actual: expect.stringContaining("census.json.zst was altered"),
    });
    await source.taking.store.delete([key]);
    await expect(source.recover("latest")).rejects.toThrow(/census\.json\.zst is missing/);
  });

  test.skipIf(!existsSync(DEBIAN))("and all of integrity agree on a server of Debian too", async () => {
    await using source = await openSource({ postgres: { major: 15 } });
    await fill(source);
    await source.backup();
    const { results } = await checked(source, "latest", { server: { "bin-dir": DEBIAN } });
    for (const { check, status, actual } of Object.values(results)) {
      expect({ check, actual, status }).toEqual({ check, actual, status: "passed" });
    }
  });
});
