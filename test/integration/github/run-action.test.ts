import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";

const ACTION = fileURLToPath(new URL("./action.ts", import.meta.url));

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "drillbook-test-"));
  await mkdir(join(folder, "temp"));
  await writeFile(join(folder, "output"), "");
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the action in a process of its own; `closeLog` closes the reading end of its log at once. */
async function run(work: string, env: Record<string, string> = {}, closeLog = false): Promise<Ended> {
  const child = spawn(process.execPath, [ACTION], {
    env: {
      PATH: process.env.PATH,
      RUNNER_TEMP: join(folder, "temp"),
      GITHUB_OUTPUT: join(folder, "output"),
      INPUT_WORK: work,
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk) => {
    stdout += String(chunk);
  });
  child.stderr.on("data", (chunk) => {
    stderr += String(chunk);
  });
  if (closeLog) child.stdout.destroy();
  await once(child, "close");
  return { code: child.exitCode, stdout, stderr };
}

const outputs = () => readFile(join(folder, "output"), "utf8");

test("work that ends well ends with exit code 0 and leaves no folder", async () => {
  const { code } = await run("nothing");
  expect(code).toBe(0);
  expect(await outputs()).toMatch(/verdict<<.*\npassed\n/);
  expect(await readdir(join(folder, "temp"))).toEqual([]);
});

test("a folder for temporary files that is not there is one sentence", async () => {
  const { code, stdout, stderr } = await run("nothing", { RUNNER_TEMP: join(folder, "absent") });
  expect(code).toBe(1);
  expect(stdout).toMatch(/^::error::No folder for temporary files can be made in .*absent .*RUNNER_TEMP/m);
  expect(stdout).not.toContain("mistake");
  expect(stderr).toBe("");
});

test("outputs that cannot be written are one sentence, and no success", async () => {
  const { code, stdout } = await run("nothing", { GITHUB_OUTPUT: join(folder, "absent") });
  expect(code).toBe(1);
  expect(stdout).toMatch(/^::error::The output verdict could not be written/m);
  expect(stdout).not.toContain("mistake");
});

test("a mistake in a callback ends the action red, with a sentence and without its folder", async () => {
  const { code, stdout, stderr } = await run("callback fails");
  expect(code).toBe(1);
  expect(stdout).toMatch(/^::error::.*a callback of a library failed/m);
  expect(stderr).toBe("");
  expect(await outputs()).not.toContain("passed");
  expect(await readdir(join(folder, "temp"))).toEqual([]);
});

test("work that ends well in spite of such a mistake is no success", async () => {
  const { code, stdout } = await run("callback fails and nobody minds");
  expect(code).toBe(1);
  expect(stdout).toMatch(/^::error::.*a callback of a library failed/m);
});

test("a log that nobody reads any more changes neither the exit code nor the outputs", async () => {
  const { code, stderr } = await run("print", {}, true);
  expect(stderr).toBe("");
  expect(code).toBe(0);
  expect(await outputs()).toMatch(/verdict<<.*\npassed\n/);
  expect(await readdir(join(folder, "temp"))).toEqual([]);
});

test("a secret of the environment is masked, although nothing has read it", async () => {
  const { stdout } = await run("print", { AGE_IDENTITY: "AGE-SECRET-KEY-1ABC" });
  expect(stdout).toContain("line 1 ***");
  expect(stdout).not.toContain("AGE-SECRET-KEY-1ABC");
});

test("a short password does not break the paths and the verdict among the outputs", async () => {
  await run("nothing", { DATABASE_URL: "postgres://app:shop@db/x", OTHER_URL: "postgres://app:passed@db/x" });
  const text = await outputs();
  expect(text).toMatch(/verdict<<.*\npassed\n/);
  expect(text).toContain("/shop.md");
  expect(text).toContain('["***-***"]');
});
