import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { descendants, type RunningStep, stillRunning, survivorsOf } from "../support/runner.ts";
import { filesBelow, openWorld, type World } from "../support/world.ts";

/** The runner kills what is left some seconds later; until then everything must have ended by itself. */
const WITHIN_SECONDS = 5;

let world: World;

beforeAll(async () => {
  world = await openWorld({
    scenarios: {
      "db-lost": { title: "The database is gone", steps: [{ recover: "db" }] },
      "slow-run": {
        title: "A step that takes long",
        steps: [{ recover: "db" }, { run: "sleep 300 & sleep 300" }],
      },
      "slow-start": {
        title: "A first step that takes long",
        steps: [{ run: "sleep 300" }, { recover: "db" }],
      },
    },
  });
  await world.server.query(
    "CREATE TABLE orders AS SELECT n AS id, md5(n::text) || md5((n + 1)::text) AS note FROM generate_series(1, 2500000) n",
  );
  const backup = await world.run("backup");
  expect(backup.exitCode, backup.visible).toBe(0);
});

afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
});

async function stop(step: RunningStep, signal: NodeJS.Signals): Promise<void> {
  const below = await descendants(step);
  const at = performance.now();
  step.kill(signal);
  const result = await step.done;
  const seconds = (performance.now() - at) / 1000;
  expect(seconds, result.visible).toBeLessThan(WITHIN_SECONDS);
  expect(result.exitCode, result.visible).toBe(1);
  expect(await stillRunning(below)).toEqual([]);
  expect(await survivorsOf(step)).toEqual([]);
  expect(result.leftovers).toEqual([]);
  expect(result.errors, result.visible).toHaveLength(1);
  expect(result.errors[0]).toContain(signal);
  expect(result.errors[0]).not.toContain("did not end by itself");
  expect(result.stderr).toBe("");
}

async function until(step: RunningStep, reached: () => Promise<boolean>): Promise<void> {
  let ended = false;
  step.done.finally(() => {
    ended = true;
  });
  while (!(await reached())) {
    if (ended) throw new Error(`It ended before it could be stopped:\n${(await step.done).visible}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function runs(step: RunningStep, command: RegExp): Promise<boolean> {
  return (await descendants(step)).some((one) => command.test(one.command));
}

describe.each(["SIGINT", "SIGTERM"] as const)("%s", (signal) => {
  test("ends a backup while the server sends it; nothing is listed, and the server is let go", async () => {
    const store = join(world.storeDir, "db/backups");
    const before = await filesBelow(store);
    const step = await world.start("backup");
    const sends =
      "SELECT 1 FROM pg_stat_replication WHERE state = 'backup' AND backend_start < now() - interval '0.3 s'";
    await until(step, async () => (await world.server.query(sends)).length > 0);
    await stop(step, signal);
    expect(await filesBelow(store)).toEqual(before);
    await expect
      .poll(async () => (await world.server.query("SELECT 1 FROM pg_stat_replication")).length)
      .toBe(0);
  });

  test("ends a drill while it fetches the backup", async () => {
    const step = await world.start("pitr-drill", { scenario: "db-lost" });
    await until(step, async () => (await filesBelow(step.folder)).some((file) => file.includes("base/")));
    await stop(step, signal);
  });

  test("ends a drill while its server recovers", async () => {
    const step = await world.start("pitr-drill", { scenario: "db-lost" });
    await until(step, () => runs(step, /postgres/));
    await stop(step, signal);
  });

  test("ends a drill in a step of the user's that has children of its own", async () => {
    const step = await world.start("pitr-drill", { scenario: "slow-run" });
    await until(step, () => runs(step, /^sleep 300/));
    await stop(step, signal);
  });

  test("ends a drill before anything is recovered", async () => {
    const step = await world.start("pitr-drill", { scenario: "slow-start" });
    await until(step, () => runs(step, /^sleep 300/));
    await stop(step, signal);
  });
});

test("a drill in a query that takes for ever ends, too", async () => {
  const { db } = world.runbook.components as { db: object };
  await world.writeRunbook({
    ...world.runbook,
    components: {
      db: { ...db, checks: [{ query: "SELECT count(*) FROM orders, pg_sleep(300)", expect: ">= 1" }] },
    },
  });
  const step = await world.start("pitr-drill", { scenario: "db-lost" });
  await until(step, () => runs(step, /SELECT/));
  await stop(step, "SIGTERM");
  await world.writeRunbook(world.runbook);
});
