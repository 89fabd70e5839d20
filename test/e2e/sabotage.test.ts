import { cp, open, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { generateIdentity } from "age-encryption";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { filesBelow, leaksOf, openWorld, type World, type WorldResult } from "../support/world.ts";

let world: World;
let whole: string;
/** Of the WAL after the backup: objects of a segment in the middle, that every later point needs. */
let segment: string[];
let targetTime: string;

beforeAll(async () => {
  world = await openWorld();
  const { server } = world;
  await server.query(
    "CREATE TABLE orders AS SELECT n AS id, md5(n::text) AS note FROM generate_series(1, 50000) n",
  );
  await world.run("backup");
  const before = new Set(await walObjects());
  for (let round = 0; round < 3; round += 1) {
    await server.query("INSERT INTO orders SELECT n, md5(n::text) FROM generate_series(1, 20000) n");
    await server.query("SELECT pg_switch_wal()");
  }
  targetTime = new Date().toISOString();
  await server.query("INSERT INTO orders VALUES (0, 'the last one')");
  const wal = await world.run("backup", { kind: "wal" });
  expect(wal.exitCode, wal.visible).toBe(0);
  const added = (await walObjects()).filter((object) => !before.has(object));
  const segments = [...new Set(added.map(segmentOf))].sort();
  const middle = segments[1] ?? "";
  segment = added.filter((object) => segmentOf(object) === middle);
  expect(segments.length).toBeGreaterThan(3);
  whole = join(world.workspace, "whole");
  await cp(world.storeDir, whole, { recursive: true });
});

afterEach(async () => {
  await rm(world.storeDir, { recursive: true, force: true });
  await cp(whole, world.storeDir, { recursive: true });
});

afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
});

async function walObjects(): Promise<string[]> {
  return (await filesBelow(world.storeDir)).filter((file) => /\/wal\/.*[0-9A-F]{24}/.test(file));
}

function segmentOf(object: string): string {
  return /[0-9A-F]{24}/.exec(object)?.[0] ?? "";
}

function segmentData(): string {
  return segment.find((object) => object.endsWith(".zst.age")) ?? "";
}

async function overwrite(object: string, change: (byte: number) => number, count: number): Promise<void> {
  const path = join(world.storeDir, object);
  const bytes = await readFile(path);
  const file = await open(path, "r+");
  const at = Math.floor(bytes.length / 2);
  const changed = bytes.subarray(at, at + count).map(change);
  await file.write(changed, 0, changed.length, at);
  await file.close();
}

/** What every defect must lead to, whatever it is. */
async function expectCaught(drill: WorldResult, subject: string): Promise<void> {
  expect(drill.exitCode, drill.visible).toBe(1);
  expect(drill.outputs.verdict).toBe("failed");
  expect(drill.errors.join("\n")).toContain(subject);
  expect(drill.leftovers).toEqual([]);
  expect(drill.survivors).toEqual([]);
  const record = JSON.parse(await world.read(drill.outputs["record-path"]));
  expect(record.verdict).toBe("failed");
  expect(record.reasons.join("\n")).toContain(subject);
  expect(drill.summary).toContain(subject);
  expect(await world.read(drill.outputs["report-path"])).toContain(subject);
}

test("untouched, the drill is passed", async () => {
  const drill = await world.run("pitr-drill");
  expect(drill.outputs.verdict, drill.visible).toBe("passed");
  expect(drill.exitCode).toBe(0);
});

describe.each(["latest", "a time"])("with %s as the target", (kind) => {
  const inputs = () => ({ target: kind === "latest" ? "latest" : targetTime });

  test("a WAL segment that is removed fails the drill", async () => {
    await rm(join(world.storeDir, segmentData()));
    await expectCaught(await world.run("pitr-drill", inputs()), segmentOf(segmentData()));
  });

  test("a WAL segment that is removed with everything about it fails the drill", async () => {
    for (const object of segment) await rm(join(world.storeDir, object));
    await expectCaught(await world.run("pitr-drill", inputs()), segmentOf(segmentData()));
  });

  test("a WAL segment whose sidecar is removed fails the drill", async () => {
    for (const object of segment.filter((one) => one !== segmentData()))
      await rm(join(world.storeDir, object));
    await expectCaught(await world.run("pitr-drill", inputs()), segmentOf(segmentData()));
  });

  test("16 overwritten bytes of a WAL segment fail the drill", async () => {
    await overwrite(segmentData(), () => 0x2a, 16);
    await expectCaught(await world.run("pitr-drill", inputs()), segmentOf(segmentData()));
  });

  test("a WAL segment that was cut short fails the drill", async () => {
    const path = join(world.storeDir, segmentData());
    const bytes = await readFile(path);
    await writeFile(path, bytes.subarray(0, Math.floor(bytes.length / 2)));
    await expectCaught(await world.run("pitr-drill", inputs()), segmentOf(segmentData()));
  });
});

test("one flipped byte of the base backup fails the drill", async () => {
  const part = (await filesBelow(world.storeDir)).find((file) => file.endsWith("/base.tar.zst.age")) ?? "";
  await overwrite(part, (byte) => byte ^ 1, 1);
  await expectCaught(await world.run("pitr-drill"), "base.tar.zst.age");
});

test("a base backup that is gone fails the drill", async () => {
  const part = (await filesBelow(world.storeDir)).find((file) => file.endsWith("/base.tar.zst.age")) ?? "";
  await rm(join(world.storeDir, part));
  await expectCaught(await world.run("pitr-drill"), "base.tar.zst.age");
});

test("another identity than the one it was sealed for fails the drill, and names the object", async () => {
  const other = await generateIdentity();
  const drill = await world.run("pitr-drill", {}, { env: { AGE_IDENTITY: other } });
  expect(drill.exitCode, drill.visible).toBe(1);
  expect(drill.outputs.verdict).not.toBe("passed");
  expect(drill.errors.join("\n")).toMatch(/\.age/);
  expect(drill.errors.join("\n")).toMatch(/identity/);
  expect(drill.leftovers).toEqual([]);
  expect(await leaksOf({ ...world, secrets: [...world.secrets, other] }, [drill])).toEqual([]);
});

test("a check that is not met fails the drill, and the report says what was found", async () => {
  const { db } = world.runbook.components as { db: object };
  await world.writeRunbook({
    ...world.runbook,
    components: { db: { ...db, checks: [{ query: "SELECT count(*) FROM orders", expect: "= 7" }] } },
  });
  const drill = await world.run("pitr-drill");
  await world.writeRunbook(world.runbook);
  expect(drill.exitCode, drill.visible).toBe(1);
  expect(drill.outputs.verdict).toBe("failed");
  expect(drill.summary).toContain("110001");
  expect(drill.leftovers).toEqual([]);
});

test("an archive that stops keeping up leaves a drill to a later time refused, with the window", async () => {
  const drill = await world.run("pitr-drill", { target: new Date(Date.now() + 3_600_000).toISOString() });
  expect(drill.exitCode).toBe(1);
  expect(drill.outputs.verdict).not.toBe("passed");
  expect(drill.errors).toHaveLength(1);
  expect(drill.errors[0]).toMatch(/20\d\d-\d\d-\d\d.*20\d\d-\d\d-\d\d/s);
});
