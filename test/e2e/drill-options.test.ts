import { readFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { drillRecord } from "../../src/record.ts";
import { openWorld, type World, type WorldResult } from "../support/world.ts";

let world: World;
let older: string;
let newer: string;

beforeAll(async () => {
  world = await openWorld({ scenarios: {} });
  await world.server.query("CREATE TABLE orders AS SELECT 1 AS id");
  older = must(await world.run("backup")).outputs["backup-id"] ?? "";
  await world.server.query("INSERT INTO orders VALUES (2)");
  newer = must(await world.run("backup")).outputs["backup-id"] ?? "";
  await world.server.query("INSERT INTO orders VALUES (3)");
  must(await world.run("backup", { kind: "wal" }));
});

afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
});

function must(result: WorldResult): WorldResult {
  expect(result.exitCode, result.visible).toBe(0);
  return result;
}

async function ordersIn(drill: WorldResult): Promise<string | undefined> {
  const record = drillRecord.parse(JSON.parse(await world.read(drill.outputs["record-path"])));
  return record.checks.find((check) => check.check.includes("count(*)"))?.actual;
}

async function backupOf(drill: WorldResult): Promise<string | undefined> {
  return drillRecord.parse(JSON.parse(await world.read(drill.outputs["record-path"]))).recoveries[0]
    ?.backupId;
}

test("a component without a scenario is drilled by its name", async () => {
  const drill = must(await world.run("pitr-drill", { components: "db" }));
  expect(drill.outputs.verdict).toBe("passed");
  expect(await ordersIn(drill)).toBe("3");
  expect(await backupOf(drill)).toBe(newer);
});

test("an older backup reaches the same point, and immediate stops at its end", async () => {
  const drill = must(await world.run("pitr-drill", { backup: older }));
  expect(await backupOf(drill)).toBe(older);
  expect(await ordersIn(drill)).toBe("3");
  // Nothing was committed while that backup ran: the loss is bounded by the backup's beginning.
  const immediate = must(await world.run("pitr-drill", { backup: older, target: "immediate" }));
  expect(Number(immediate.outputs["rpo-seconds"])).toBeGreaterThan(0);
  expect(await ordersIn(immediate)).toBe("1");
});

test("a while ago is counted back from now", async () => {
  const wrong = await world.run("pitr-drill", { target: "-1d" });
  expect(wrong.exitCode).toBe(1);
  expect(wrong.errors[0]).toContain("too early");
  await world.server.query("INSERT INTO orders VALUES (4)");
  await new Promise((resolve) => setTimeout(resolve, 6_000));
  const deleted = Date.now();
  await world.server.query("DELETE FROM orders");
  must(await world.run("backup", { kind: "wal" }));
  // Between the two: three seconds before the deletion, if the drill started at once.
  const seconds = Math.ceil((Date.now() - deleted) / 1000) + 3;
  const drill = must(await world.run("pitr-drill", { target: `-${seconds}s` }));
  expect(await ordersIn(drill)).toBe("4");
  await world.server.query("INSERT INTO orders VALUES (1), (2), (3), (4)");
});

test("a fresh backup is taken first, and is the one that is drilled", async () => {
  const drill = must(await world.run("pitr-drill", { backup: "fresh" }));
  expect(await backupOf(drill)).not.toBe(newer);
  expect(await ordersIn(drill)).toBe("4");
});

test("a backup id that does not exist is a sentence", async () => {
  const drill = await world.run("pitr-drill", { backup: "20200101T000000Z-abc123" });
  expect(drill.exitCode).toBe(1);
  expect(drill.errors, drill.visible).toHaveLength(1);
  expect(drill.errors[0]).toContain("20200101T000000Z-abc123");
  expect(drill.outputs.verdict).not.toBe("passed");
});

test("with keep the recovered server stays, says how to reach it, and can be stopped as it says", async () => {
  // A RUNNER_TEMP that stays: a runner that lives on keeps it as well.
  const drill = must(
    await world.run("pitr-drill", { keep: "true" }, { temp: join(world.workspace, "kept") }),
  );
  const [, socket = "", port = "", user = ""] = /psql -h (\S+) -p (\d+) -U (\S+)/.exec(drill.visible) ?? [];
  const pid = Number(/kill -INT (\d+)/.exec(drill.visible)?.[1]);
  const folder = /then remove (\S+)\./.exec(drill.visible)?.[1] ?? "";
  try {
    expect(await readFile(join(folder, "data/PG_VERSION"), "utf8")).toContain(String(world.server.major));
    const client = new pg.Client({ host: socket, port: Number(port), user, database: "postgres" });
    await client.connect();
    const { rows } = await client.query("SELECT count(*)::int AS orders FROM orders");
    await client.end();
    expect(rows).toEqual([{ orders: 4 }]);
  } finally {
    process.kill(pid, "SIGINT");
  }
});

describe("the gate of the report", () => {
  const scenarios = {
    "db-lost": { title: "The database is gone", every: "90d", steps: [{ recover: "db" }] },
  };

  test("fails for a scenario that was never drilled, and passes after its drill", async () => {
    await world.writeRunbook({ ...world.runbook, scenarios });
    const before = await world.run("report", { gate: "true" });
    expect(before.exitCode, before.visible).toBe(1);
    expect(before.errors.join("\n")).toContain("db-lost");
    expect(before.outputs["report-path"]).not.toBe("");
    must(await world.run("pitr-drill", { scenario: "db-lost" }));
    const after = must(await world.run("report", { gate: "true" }));
    expect(after.outputs.verdict).toBe("passed");
  });
});
