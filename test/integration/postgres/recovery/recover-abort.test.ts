import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, chownSync, constants, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AbortedError } from "../../../../src/errors.ts";
import type { GetOptions, Store } from "../../../../src/stores/store.ts";
import {
  openSource,
  type RoomContext,
  roomContext,
  type Source,
  spiedStore,
  withConfig,
} from "../recovering.ts";

const CHILD = fileURLToPath(new URL("./recover-child.ts", import.meta.url));

describe("an abort", () => {
  let source: Source;

  beforeAll(async () => {
    source = await openSource({ postgres: { major: 18 } });
    await source.server.query("CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id");
    await source.backup();
  });
  afterAll(async () => {
    await source[Symbol.asyncDispose]();
  });

  /** Reads of matching keys never answer, but end with their signal; the first one is reported. */
  function hangingStore(matches: (key: string) => boolean): { store: Store; hung: Promise<void> } {
    const spied = spiedStore(source.taking.store);
    let report = () => {};
    const hung = new Promise<void>((resolve) => {
      report = resolve;
    });
    const get = async (key: string, options?: GetOptions) => {
      if (!matches(key)) return spied.get(key, options);
      report();
      return await new Promise<never>((_resolve, reject) => {
        options?.signal?.addEventListener("abort", () => reject(new AbortedError()), { once: true });
      });
    };
    return { store: { ...spied, get }, hung };
  }

  async function expectNothingLeft(context: RoomContext, work: Promise<unknown>): Promise<void> {
    const startedAt = performance.now();
    context.abort();
    await expect(work).rejects.toThrow(AbortedError);
    // A promise to users, not a measurement of speed.
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    expect(context.remains()).toEqual([]);
  }

  test.each([
    { phase: "planning", matches: (key: string) => key.endsWith("manifest.json") },
    { phase: "the list of files is fetched", matches: (key: string) => key.endsWith("backup_manifest") },
    { phase: "the data is fetched", matches: (key: string) => key.includes("base.tar") },
  ])("while $phase leaves nothing", async ({ matches }) => {
    await using context = await roomContext();
    const { store, hung } = hangingStore(matches);
    const work = source.recover("latest", { context, setting: { ...source.setting, store } });
    work.catch(() => undefined);
    await hung;
    await expectNothingLeft(context, work);
  });

  test("while the server waits for WAL leaves nothing", async () => {
    await using context = await roomContext();
    const { store } = hangingStore((key) => key.includes("/wal/") && key.endsWith(".zst"));
    const work = source.recover("latest", { context, setting: { ...source.setting, store } });
    work.catch(() => undefined);
    while (!context.remains().some((line) => line.includes("restore.sh"))) await sleep(20);
    await expectNothingLeft(context, work);
  });

  test("while a check runs ends the check and the server", async () => {
    await using context = await roomContext();
    const check = { query: "SELECT count(*) FROM orders, pg_sleep(600)", expect: "= 1000" };
    const setting = withConfig(source, {
      server: { "bin-dir": source.server.binDir },
      checks: [check],
    });
    const recovered = await source.recover("latest", { context, setting });
    const checking = recovered.check();
    checking.catch(() => undefined);
    await sleep(300);
    context.abort();
    await expect(checking).rejects.toThrow(AbortedError);
    await recovered.dispose();
    expect(context.remains()).toEqual([]);
  });

  test("while the integrity is checked ends that and the server", async () => {
    await using context = await roomContext();
    const log = {
      ...context.log,
      info: (line: string) => {
        if (line.startsWith("integrity: extensions")) context.abort();
      },
    };
    const recovered = await source.recover("latest", { context: { ...context, log } });
    await expect(recovered.inspect?.()).rejects.toThrow(AbortedError);
    await recovered.dispose();
    expect(context.remains()).toEqual([]);
  });

  function startChild(
    context: RoomContext,
    mode: string,
    user: { uid?: number; gid?: number } = {},
  ): ChildProcess {
    const storeFolder = join(source.taking.context.workDir, "store");
    const server = JSON.stringify({ "bin-dir": source.server.binDir });
    const args = [CHILD, storeFolder, server, context.workDir, "latest", mode];
    return spawn(process.execPath, args, { ...user, cwd: "/", stdio: ["ignore", "pipe", "inherit"] });
  }

  async function nothingRemains(context: RoomContext): Promise<void> {
    for (let tries = 0; tries < 200 && context.remains().length > 0; tries += 1) await sleep(50);
    expect(context.remains()).toEqual([]);
  }

  test.each(["hang", "hang-wal"])("by kill -9 of this process (%s) leaves nothing either", async (mode) => {
    await using context = await roomContext();
    const child = startChild(context, mode);
    try {
      if (mode === "hang") await once(child.stdout ?? child, "data");
      else while (!context.remains().some((line) => line.includes("restore.sh"))) await sleep(20);
      expect(context.remains().some((line) => line.includes("config_file="))).toBe(true);
    } finally {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    await nothingRemains(context);
  });

  const other = anotherUser();
  test.runIf(other !== undefined)(
    "does not concern a normal user, who recovers as well (skipped unless root)",
    async () => {
      await using context = await roomContext();
      const user = other ?? { uid: 0, gid: 0 };
      const { uid, gid } = user;
      // A folder of that user's own, as in a job that does not run as root.
      chownSync(dirname(context.workDir), uid, gid);
      chownSync(context.workDir, uid, gid);
      execFileSync("chmod", ["-R", "a+rX", source.taking.context.workDir]);
      const child = startChild(context, "end", user);
      let output = "";
      child.stdout?.on("data", (chunk) => {
        output += String(chunk);
      });
      const [code] = await once(child, "close");
      expect(code).toBe(0);
      expect(JSON.parse(output)).toMatchObject({ uid, reached: { timeline: 2 } });
      expect(context.remains()).toEqual([]);
    },
  );
});

/** `nobody`, when we are root and this checkout can be read by everybody. */
function anotherUser(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (let folder = import.meta.dirname; folder !== "/"; folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o005) !== 0o005) return undefined;
  }
  accessSync(process.execPath, constants.X_OK);
  return { uid: 65534, gid: 65534 };
}
