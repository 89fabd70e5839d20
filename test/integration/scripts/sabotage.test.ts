import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BREAKAGES } from "../../../scripts/sabotage/breakages/all.ts";
import { sabotage, standsUp } from "../../../scripts/sabotage/run.ts";
import { fill, makePlace, type Place, sell } from "../../../scripts/sabotage/source.ts";
import { openSubject } from "../../../scripts/sabotage/subject.ts";
import type { Store } from "../../../src/stores/store.ts";
import { type TestContext, testContext } from "../../support/context.ts";
import { startPostgres, type TestPostgres } from "../../support/postgres.ts";
import { filesBelow } from "../../support/world.ts";

const ROOT = join(import.meta.dirname, "../../..");

let context: TestContext;
let server: TestPostgres;
let place: Place;
/** Digests of all files of the store, as they must be after every test. */
let untouched: Record<string, string>;

beforeAll(async () => {
  context = await testContext();
  server = await startPostgres({ initdbArgs: ["--wal-segsize=1"] });
  await fill(server);
  place = await makePlace("theirs", { servers: { db: server } }, context);
  await place.backup();
  await sell(server, 2);
  await place.backup();
  await sell(server, 4);
  await place.backup("wal");
  await place.drill();
  untouched = await digests();
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await context?.[Symbol.asyncDispose]();
});

async function digests(): Promise<Record<string, string>> {
  const files = await filesBelow(place.storeDir);
  const digest = (file: string) =>
    createHash("sha256")
      .update(readFileSync(join(place.storeDir, file)))
      .digest("hex");
  return Object.fromEntries(files.map((file) => [file, digest(file)]));
}

/** A store in which every write is an error. */
function readOnly(store: Store): Store {
  const refuse = () => Promise.reject(new Error("Somebody wrote to the store below."));
  return { ...store, put: refuse, create: refuse, delete: refuse, removeUnfinished: refuse };
}

interface Ended {
  readonly code: number;
  readonly output: string;
}

async function run(...args: string[]): Promise<Ended> {
  const script = join(ROOT, "scripts/sabotage.ts");
  const env = { ...process.env, ...place.context.env } as NodeJS.ProcessEnv;
  const ended = promisify(execFile)(process.execPath, [script, ...args], { env }).then(
    ({ stdout, stderr }) => ({ code: 0, output: stdout + stderr }),
    (error: { code: number; stdout: string; stderr: string }) => ({
      code: error.code,
      output: error.stdout + error.stderr,
    }),
  );
  return await ended;
}

test("no breakage, no look and no drill ever writes to the store below", async () => {
  await using opened = await openSubject(place.runbookFile, "db", place.context);
  const { subject } = opened;
  const store = readOnly(subject.setting.store);
  const guarded = { ...subject, setting: { ...subject.setting, store } };
  expect(await standsUp(guarded, { name: "db", sentence: "" })).toMatchObject({ outcome: "green" });
  const results = await sabotage(
    guarded,
    BREAKAGES,
    () => undefined,
    async () => [],
  );
  expect(results.length).toBeGreaterThan(60);
  expect(await digests()).toEqual(untouched);
});

test("a breakage that nobody sees is missed, and one that is seen as something else is misnamed", async () => {
  await using opened = await openSubject(place.runbookFile, "db", place.context);
  const some = BREAKAGES.filter(({ name }) => name === "base archive gone");
  const blind = await sabotage(
    opened.subject,
    some,
    () => undefined,
    async () => [],
  );
  expect(blind).toMatchObject([{ outcome: "missed" }]);
  const confused = await sabotage(
    opened.subject,
    some,
    () => undefined,
    async () => [
      { code: "wal-stale", severity: "error", message: "It is old." },
      { code: "backup-incomplete", severity: "warning", message: "A warning is not enough." },
    ],
  );
  expect(confused).toMatchObject([{ outcome: "misnamed", code: "wal-stale" }]);
});

test("the command breaks somebody's own store, says the score, and leaves the store as it was", async () => {
  const { code, output } = await run("--runbook", place.runbookFile, "--component", "db", "--only", " gone");
  expect(output).toMatch(/^ok {2}base archive gone /m);
  const [, caught, all] = /Your checks caught (\d+) of (\d+)\./.exec(output) ?? [];
  expect(Number(all)).toBeGreaterThan(10);
  expect(caught).toBe(all);
  expect(code).toBe(0);
  expect(await digests()).toEqual(untouched);
});

test("the command fails when a runbook looks at too little to see a loss", async () => {
  const text = await readFile(place.runbookFile, "utf8");
  const blind = join(context.workDir, "blind.yml");
  await writeFile(blind, text.replace("    checks:", "    integrity: false\n    checks:"));
  const { code, output } = await run("--runbook", blind, "--only", "role lost");
  expect(output).toContain("MISSED: Nobody saw it. Expected: roles as in the census failed by drill.");
  expect(output).toContain("Your checks caught 0 of 1.");
  expect(code).toBe(1);
  expect(await digests()).toEqual(untouched);
});

test("the command says in a sentence what is wrong with what it was asked", async () => {
  const { code, output } = await run("--runbook", place.runbookFile, "--component", "nothing");
  expect(output).toContain('The sabotage could not be done: The runbook has no component "nothing"');
  expect(output).not.toMatch(/^ {4}at /m);
  expect(code).toBe(1);
});
