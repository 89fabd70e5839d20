import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Order, openShop } from "../../scripts/demo/shop.ts";
import { type DrillRecord, drillRecord } from "../../src/record.ts";
import { formatMicros } from "../../src/targets.ts";
import { availableMajors } from "../support/postgres.ts";
import { type ResultsService, startResultsService } from "../support/results-service.ts";
import { startS3, type TestS3 } from "../support/s3.ts";
import { leaksOf, openWorld, type World, type WorldResult } from "../support/world.ts";

const majors = availableMajors();
const chosen = [...new Set([majors.at(0), majors.at(-1)])].filter((major) => major !== undefined);

describe.each(chosen)("PostgreSQL %i, backed up, killed, recovered and reported by the bundles", (major) => {
  let s3: TestS3;
  let results: ResultsService;
  let world: World;
  let lost: Order[];
  let deletedAt: bigint;
  let target: string;
  let backup: WorldResult;
  let wal: WorldResult;
  let drill: WorldResult;
  let report: WorldResult;
  let record: DrillRecord;

  beforeAll(async () => {
    s3 = await startS3();
    results = await startResultsService();
    world = await openWorld({
      postgres: { major, settings: { track_commit_timestamp: true } },
      store: { type: "s3", bucket: s3.bucket, prefix: "shop", endpoint: s3.endpoint, region: "us-east-1" },
      env: s3.env,
      secrets: Object.values(s3.env),
      // A row count and a sum tell the orders before the deletion from every other state.
      component: {
        checks: [
          { query: "SELECT count(*) FROM orders", expect: ">= 1" },
          { query: "SELECT max(created_at) FROM orders", "max-age": "1m" },
        ],
      },
    });
    const shop = await openShop(world.server);
    backup = await world.run("backup");
    const deletion = await shop.deleteAllOrders();
    deletedAt = deletion.committedMicros;
    target = formatMicros(deletedAt - 1n);
    wal = await world.run("backup", { kind: "wal" });
    await world.server.kill9();
    await shop.close();
    await world.server.wipe();
    lost = shop.orders.filter((order) => order.committedMicros < deletedAt);

    const sum = lost.reduce((cents, order) => cents + order.cents, 0);
    await world.writeRunbook({
      ...world.runbook,
      scenarios: {
        "db-lost": {
          title: "The database is gone",
          steps: [{ recover: "db" }],
        },
      },
      components: {
        db: {
          ...(world.runbook.components as { db: object }).db,
          checks: [
            { query: "SELECT count(*) FROM orders", expect: `= ${lost.length}` },
            { query: "SELECT sum(cents) FROM orders", expect: `= ${sum}` },
            { query: "SELECT max(created_at) FROM orders", "max-age": "1m" },
          ],
        },
      },
    });
    drill = await world.run("pitr-drill", { target, "retention-days": "7" }, { results });
    report = await world.run("report", {}, { results });
    record = drillRecord.parse(JSON.parse(await world.read(drill.outputs["record-path"])));
  });

  afterAll(async () => {
    await world?.[Symbol.asyncDispose]();
    await results?.[Symbol.asyncDispose]();
    await s3?.close();
  });

  test("every step ends with exit code 0, without an error, a file or a process left", () => {
    for (const step of [backup, wal, drill, report]) {
      expect(
        { code: step.exitCode, errors: step.errors, left: [...step.leftovers, ...step.survivors] },
        step.visible,
      ).toEqual({
        code: 0,
        errors: [],
        left: [],
      });
    }
  });

  test("the backup says what it wrote and how far it reaches", () => {
    expect(backup.outputs["backup-id"]).toMatch(/^\d{8}T\d{6}Z-[a-z0-9]+$/);
    expect(Number(backup.outputs.bytes)).toBeGreaterThan(100_000);
    expect(Number(backup.outputs["duration-seconds"])).toBeGreaterThan(0);
    expect(Date.parse(wal.outputs["recoverable-until"] ?? "")).toBeGreaterThan(Number(deletedAt / 1000n));
    expect(JSON.parse(backup.outputs["backups-json"] ?? "")).toMatchObject([{ component: "db" }]);
  });

  test("the drill is passed: all orders up to the point, to the cent, and none after", () => {
    expect(drill.outputs.verdict).toBe("passed");
    // Three of the runbook, and all that Drillbook itself looks at.
    const results = record.checks.map(({ check, status, actual }) => ({ check, status, actual }));
    expect(results).toEqual(results.map((result) => ({ ...result, status: "passed" })));
    expect(results.map(({ check }) => check)).toContain("integrity: B-tree indexes (amcheck)");
    expect(results.length).toBeGreaterThan(10);
    expect(lost.length).toBeGreaterThan(10);
  });

  test("the record names the two commits that bracket the point, as the server itself knew them", () => {
    const reached = record.recoveries[0]?.reached;
    expect(micros(reached?.firstCommitAfter)).toBe(deletedAt);
    const last = micros(reached?.lastCommitBefore);
    expect(last).toBeLessThan(deletedAt);
    // Another transaction, such as a vacuum, may have committed after the last order.
    expect(last).toBeGreaterThanOrEqual(lost.at(-1)?.committedMicros ?? 0n);
  });

  test("the outputs are those of the record", () => {
    expect(drill.outputs["drill-id"]).toBe(record.id);
    expect(Number(drill.outputs["rto-seconds"])).toBe(record.achieved.rtoSeconds);
    expect(Number(drill.outputs["rpo-seconds"])).toBe(record.achieved.rpoSeconds);
    expect(record.achieved.rtoSeconds).toBeGreaterThan(0);
    expect(record.achieved.rpoSeconds).toBeGreaterThanOrEqual(0);
    expect(record.recoveries[0]?.backupId).toBe(backup.outputs["backup-id"]);
    expect(record.operator).toBe("octocat");
    expect(record.run.url).toBe("https://github.com/acme/shop/actions/runs/4242");
    expect(record.environmentFacts.postgres).toMatch(new RegExp(`^${major}\\b`));
  });

  test("the report and the job summary show RTO by phase, RPO and both commits", async () => {
    const reached = record.recoveries[0]?.reached;
    const phases = record.steps.flatMap((step) => step.phases);
    expect(phases.length).toBeGreaterThan(1);
    for (const text of [drill.summary, await world.read(drill.outputs["report-path"])]) {
      expect(text).toMatch(/passed/i);
      expect(text).toContain("RTO");
      expect(text).toContain("RPO");
      expect(text).toContain("gantt");
      for (const { name } of phases) expect(text).toContain(name);
      for (const commit of [reached?.lastCommitBefore, reached?.firstCommitAfter]) {
        expect(text).toContain((commit ?? "no commit").replace(/(\+00|Z)$/, ""));
      }
    }
  });

  test("the artifact holds the record and the report, and the trend report is an artifact of its own", async () => {
    expect(results.problems).toEqual([]);
    expect(results.artifacts.map((artifact) => artifact.name)).toEqual(["drill-report", "drill-history"]);
    const [artifact, history] = results.artifacts;
    expect(drill.outputs["artifact-id"]).toBe(artifact?.id);
    expect(report.outputs["artifact-id"]).toBe(history?.id);
    const names = [...(artifact?.files.keys() ?? [])];
    expect(names).toContain(`${record.id}.json`);
    expect(names.some((name) => name.endsWith(".md"))).toBe(true);
    const uploaded = artifact?.files.get(`${record.id}.json`)?.toString() ?? "{}";
    expect(drillRecord.parse(JSON.parse(uploaded))).toEqual(record);
    const days = (Date.parse(artifact?.expiresAt ?? "") - Date.now()) / 86_400_000;
    expect(days).toBeGreaterThan(6);
    expect(days).toBeLessThan(8);
  });

  test("the trend report names the drill and the worst verdict", async () => {
    expect(report.outputs.verdict).toBe("passed");
    expect(await world.read(report.outputs["report-path"])).toContain(record.id);
  });

  test("no secret is shown anywhere", async () => {
    expect(await leaksOf(world, [backup, wal, drill, report])).toEqual([]);
    const shown = results.artifacts.flatMap(({ files }) => [...files.values()].map(String)).join("\n");
    for (const secret of world.secrets) expect(shown).not.toContain(secret);
  });

  test("the secrets are masked for the runner's log", () => {
    expect(backup.masks).toContain(world.server.password);
    expect(drill.masks).toContain(world.identity);
  });
});

/** Microseconds since 1970 of a time in a record. */
function micros(time: string | null | undefined): bigint {
  const [, day, clock, fraction = ""] = /^(\S{10})[T ]([\d:]{8})(?:\.(\d{1,6}))?/.exec(time ?? "") ?? [];
  return BigInt(Date.parse(`${day}T${clock}Z`)) * 1000n + BigInt(fraction.padEnd(6, "0"));
}
