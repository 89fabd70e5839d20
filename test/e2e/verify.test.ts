import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { verifyRecord } from "../../src/verify/record.ts";
import { filesBelow, leaksOf, openWorld, type World, type WorldResult } from "../support/world.ts";

let world: World;
const results: WorldResult[] = [];

beforeAll(async () => {
  world = await openWorld({
    scenarios: { "db-lost": { title: "Gone", every: "90d", steps: [{ recover: "db" }] } },
  });
  await world.server.query("CREATE TABLE orders AS SELECT 1 AS id");
  for (const kind of ["full", "wal"]) expect((await run("backup", { kind })).exitCode).toBe(0);
});

afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
});

async function run(action: string, inputs: Readonly<Record<string, string>> = {}): Promise<WorldResult> {
  const result = await world.run(action, inputs);
  results.push(result);
  expect(result.survivors).toEqual([]);
  return result;
}

test.each(["inventory", "checksums", "restore"])("sound backups pass at the depth %s", async (depth) => {
  const result = await run("verify", { depth });
  expect(result.exitCode, result.visible).toBe(0);
  const findings = JSON.parse(result.outputs["findings-json"] ?? "") as { code: string; severity: string }[];
  // It was never drilled, but is not older than the period either.
  expect(findings.map(({ code, severity }) => `${severity} ${code}`)).toEqual(["warning drill-overdue"]);
  expect(result.outputs.verdict).toBe("passed");
  expect(Number(result.outputs["rpo-seconds"])).toBeLessThan(3_600);
  const record = verifyRecord.parse(JSON.parse(await world.read(result.outputs["record-path"])));
  expect(record.components[0]?.window?.to).toMatch(/^\d{4}-/);
  expect(record.components[0]?.verified.length).toBe(depth === "inventory" ? 0 : 1);
  const report = await world.read(result.outputs["report-path"]);
  expect(report).toContain("✅ **PASSED**");
  expect(report).toContain("of data would be lost");
  expect(result.summary).toContain("What could be recovered now");
});

test("a proven backup is noted in the store, for retention", async () => {
  const notes = (await filesBelow(world.storeDir)).filter((file) => file.includes("/verified/"));
  expect(notes).toHaveLength(1);
});

test("a drill ends the warning", async () => {
  expect((await run("pitr-drill")).exitCode).toBe(0);
  const result = await run("verify", { depth: "inventory" });
  expect(result.outputs["findings-json"]).toBe("[]");
});

test("a part that is gone turns the job red, after its outputs are set, with what to do", async () => {
  const [archive = ""] = (await filesBelow(world.storeDir)).filter((file) => file.includes("base.tar"));
  await rm(join(world.storeDir, archive));
  const result = await run("verify", { depth: "inventory" });
  expect(result.exitCode).toBe(1);
  expect(result.outputs.verdict).toBe("failed");
  expect(result.errors[0]).toMatch(
    /The verdict is failed: backup-incomplete: .*base\.tar\.zst\.age is missing/,
  );
  const findings = JSON.parse(result.outputs["findings-json"] ?? "") as { code: string; remedy: string }[];
  expect(findings).toMatchObject([
    { code: "backup-incomplete", remedy: expect.stringContaining("new backup") },
  ]);
  expect(result.summary).toContain("`backup-incomplete`");
});

test.each([
  [{ depth: "deep" }, /depth.*deep/],
  [{ components: "cache" }, /cache/],
  [{ "cover-within": "3h" }, /cover-within is "3h"/],
  [{ "cover-within": "3d", depth: "inventory" }, /cover-within is for depth: checksums/],
])("bad input %o is a sentence", async (inputs, message) => {
  const result = await run("verify", inputs);
  expect(result.exitCode).toBe(1);
  expect(result.errors[0]).toMatch(message);
});

test("no secret is shown anywhere", async () => {
  expect(await leaksOf(world, results)).toEqual([]);
});
