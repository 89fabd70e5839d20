import { execFile } from "node:child_process";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { ROOT, readAction } from "../../scripts/lib/action-metadata.ts";

const run = promisify(execFile);

test("the bundles in dist/ are what the sources build, byte for byte", async () => {
  const { stdout } = await run(process.execPath, [join(ROOT, "scripts/build.ts"), "--check"], { cwd: ROOT });
  expect(stdout).toContain("byte for byte");
});

test("every action names a bundle that is there, and Node 24", async () => {
  const actions = await readdir(join(ROOT, "actions"));
  expect(actions.length).toBeGreaterThan(0);
  for (const name of actions) {
    const action = await readAction(name);
    expect(action.using).toBe("node24");
    expect((await stat(action.main)).isFile(), action.main).toBe(true);
  }
});
