import { execFileSync } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { filesBelow, openWorld, type World } from "../support/world.ts";

const canMount = process.platform === "linux" && process.getuid?.() === 0 && mountWorks();

let world: World;

beforeAll(async () => {
  world = await openWorld();
  await world.server.query(
    "CREATE TABLE orders AS SELECT n AS id, md5(n::text) AS note FROM generate_series(1, 500000) n",
  );
});

afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
});

function mountWorks(): boolean {
  try {
    execFileSync("unshare", ["-m", "mount", "-t", "tmpfs", "none", "/mnt"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** Gives a small disk to `use`; unmounted afterwards, whatever happened. */
async function withSmallDisk(
  name: string,
  megabytes: number,
  use: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = join(world.workspace, name);
  await mkdir(folder, { recursive: true });
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m,mode=0755`, "drillbook-test", folder]);
  try {
    await use(folder);
  } finally {
    execFileSync("umount", ["-l", folder]);
  }
}

test.skipIf(!canMount)("a store whose disk is full (needs root and the right to mount)", async () => {
  await withSmallDisk("store", 6, async (folder) => {
    const result = await world.run("backup");
    expect(result.exitCode, result.visible).toBe(1);
    expect(result.errors, result.visible).toHaveLength(1);
    expect(result.errors[0]).toMatch(/full|space/i);
    expect(result.errors[0]).toContain(folder);
    expect(result.visible).not.toMatch(/^\s+at .+:\d+:\d+/m);
    expect(result.leftovers).toEqual([]);
    const left = await filesBelow(folder);
    expect(left.filter((file) => file.includes("/backups/"))).toEqual([]);
  });
});

test.skipIf(!canMount)(
  "a scratch disk that is too small for the drill (needs root and the right to mount)",
  async () => {
    const backup = await world.run("backup");
    expect(backup.exitCode, backup.visible).toBe(0);
    await withSmallDisk("scratch", 24, async (folder) => {
      const result = await world.run("pitr-drill", {}, { temp: folder });
      expect(result.exitCode, result.visible).toBe(1);
      // Nothing is proven against the backup: it could not be tried here.
      expect(result.outputs.verdict).toBe("unverified");
      expect(result.errors, result.visible).toHaveLength(1);
      expect(result.errors[0]).toMatch(/\d (MiB|GiB|MB|GB)/);
      expect(result.errors[0]).toMatch(/free|disk|space/i);
      expect(result.leftovers).toEqual([]);
      expect(await filesBelow(folder)).toEqual([]);
    });
  },
);
