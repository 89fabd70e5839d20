import { afterAll, beforeAll, expect, test } from "vitest";
import { startResultsService } from "../support/results-service.ts";
import { openWorld, type World } from "../support/world.ts";

let world: World;

beforeAll(async () => {
  world = await openWorld();
  await world.server.query("CREATE TABLE orders AS SELECT 1 AS id");
  const backup = await world.run("backup");
  expect(backup.exitCode, backup.visible).toBe(0);
});

afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
});

test("without an artifact service the drill passes, says so and leaves the files", async () => {
  const drill = await world.run("pitr-drill");
  expect(drill.exitCode, drill.visible).toBe(0);
  expect(drill.outputs["artifact-id"]).toBe("");
  expect(drill.visible).toMatch(/artifact/i);
  expect(await world.read(drill.outputs["record-path"])).toContain("drillbook/drill-record/v1");
});

test("an artifact service that refuses is a warning: the verdict stands", async () => {
  await using results = await startResultsService();
  results.refuse();
  const drill = await world.run("pitr-drill", {}, { results });
  expect(drill.exitCode, drill.visible).toBe(0);
  expect(drill.outputs.verdict).toBe("passed");
  expect(drill.outputs["artifact-id"]).toBe("");
  expect(drill.warnings.join("\n")).toMatch(/artifact/i);
});

test("an artifact of a failed drill is uploaded as well", async () => {
  await using results = await startResultsService();
  const { db } = world.runbook.components as { db: object };
  await world.writeRunbook({
    ...world.runbook,
    components: { db: { ...db, checks: [{ query: "SELECT count(*) FROM orders", expect: "= 2" }] } },
  });
  const drill = await world.run("pitr-drill", { "artifact-name": "evidence" }, { results });
  expect(drill.exitCode, drill.visible).toBe(1);
  expect(results.artifacts.map((artifact) => artifact.name)).toEqual(["evidence"]);
  expect(drill.outputs["artifact-id"]).toBe(results.artifacts[0]?.id);
});
