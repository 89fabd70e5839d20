import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { segmentKey } from "../../src/catalog/layout.ts";
import { AbortedError, DefectError, ToolError, UserError } from "../../src/errors.ts";
import {
  ask,
  openSource,
  type RoomContext,
  roomContext,
  type Source,
  withConfig,
} from "../integration/postgres/recovering.ts";
import { keysOf } from "../integration/postgres/taking.ts";
import { openDocker, type TestDocker, whyNoDocker } from "../support/docker.ts";

const CHILD = fileURLToPath(new URL("../integration/postgres/recovery/recover-child.ts", import.meta.url));
/** Debian has no folder of it on the machines that run these tests. */
const MAJOR = 17;
const why = whyNoDocker();

const skipped = why === undefined ? "" : ` (skipped: ${why})`;

describe.skipIf(why !== undefined)(`a scratch server in a container${skipped}`, () => {
  let docker: TestDocker;
  let image: string;
  let source: Source;

  beforeAll(async () => {
    docker = await openDocker();
    image = await docker.imageOf(MAJOR);
    source = await openSource({ postgres: { major: MAJOR } });
    await source.server.query("CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id");
    await source.backup();
    await source.server.query("INSERT INTO orders SELECT generate_series(1001, 2000)");
    await source.backup("wal");
  });
  afterAll(async () => {
    await source?.[Symbol.asyncDispose]();
    await docker?.[Symbol.asyncDispose]();
  });

  function room(env: Readonly<Record<string, string>> = {}): Promise<RoomContext> {
    return roomContext({ env: { ...docker.env, ...env } });
  }

  function wanting(server: Readonly<Record<string, unknown>>, more: Readonly<Record<string, unknown>> = {}) {
    return withConfig(source, { server, ...more });
  }

  async function errorOf(work: Promise<unknown>): Promise<Error> {
    const error = await work.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Error);
    return error as Error;
  }

  function expectNothingLeft(context: RoomContext): void {
    expect(context.remains()).toEqual([]);
    expect(docker.containers()).toEqual([]);
  }

  test("recovers to latest, answers checks, and takes the runbook's settings but nothing of the job", async () => {
    await using context = await room({ JOB_SECRET: "never-in-a-container" });
    const server = { runtime: "docker", image, settings: { work_mem: "9MB" } };
    const checks = [
      { query: "SELECT count(*) FROM orders", expect: "= 2000" },
      { query: "SELECT count(*) FROM orders", expect: "= 1" },
    ];
    const recovered = await source.recover("latest", { context, setting: wanting(server, { checks }) });
    try {
      expect(docker.containers()).toHaveLength(1);
      const results = await recovered.check();
      expect(results.map(({ status }) => status)).toEqual(["passed", "failed"]);
      expect(recovered.facts).toMatchObject({
        postgres: expect.stringMatching(/^17\./),
        runtime: `docker ${image}`,
      });
      expect(await ask(recovered, "SELECT count(*) FROM orders")).toBe("2000");
      expect(await ask(recovered, "SHOW work_mem")).toBe("9MB");
      const environment = await ask(
        recovered,
        "SELECT encode(pg_read_binary_file('/proc/1/environ'), 'escape')",
      );
      expect(environment).toContain("LC_ALL=C");
      expect(environment).not.toContain("JOB_SECRET");
      // Files of this machine other than the scratch folders are not there.
      expect(await ask(recovered, "SELECT (pg_stat_file('/etc/hostname.nowhere', true)).size")).toBeNull();
      expect(await ask(recovered, `SELECT (pg_stat_file('${import.meta.dirname}', true)).size`)).toBeNull();
    } finally {
      await recovered.dispose();
    }
    expect(context.lines).toContainEqual(
      expect.stringMatching(`The scratch server runs in docker ${image}, PostgreSQL 17\\.`),
    );
    expectNothingLeft(context);
  });

  test("is looked through like a local one", async () => {
    await using context = await room();
    const recovered = await source.recover("latest", {
      context,
      setting: wanting({ runtime: "docker", image }),
    });
    try {
      const results = (await recovered.inspect?.()) ?? [];
      expect(results.length).toBeGreaterThan(5);
      expect(results.filter(({ status }) => status !== "passed")).toEqual([]);
    } finally {
      await recovered.dispose();
    }
    expectNothingLeft(context);
  });

  test("is what auto falls back to on a machine without the programs", async () => {
    await using context = await room({ PATH: pathOfDocker() });
    const recovered = await source.recover("latest", { context, setting: wanting({ image }) });
    expect(recovered.facts.runtime).toBe(`docker ${image}`);
    await recovered.dispose();
    expectNothingLeft(context);

    await using other = await room({ PATH: `${pathOfDocker()}:${source.server.binDir}` });
    const local = await source.recover("latest", { context: other, setting: wanting({ image }) });
    expect(local.facts.runtime).toBeUndefined();
    await local.dispose();
    expectNothingLeft(other);
  });

  test("works in folders of any name, with a socket beside them", async () => {
    await using context = await room();
    const parent = join(dirname(context.workDir), `a "quoted", long: na%me's ${"x".repeat(60)}`);
    mkdirSync(join(parent, "work"), { recursive: true, mode: 0o755 });
    const setting = wanting({ runtime: "docker", image });
    const recovered = await source.recover("latest", {
      context: { ...context, workDir: join(parent, "work") },
      setting,
    });
    try {
      expect((await recovered.check()).length).toBe(0);
      expect(await ask(recovered, "SELECT count(*) FROM orders")).toBe("2000");
      const [folder] = (await ask(recovered, "SHOW unix_socket_directories"))?.split("drillbook-pg-") ?? [];
      expect(folder).not.toContain("quoted");
    } finally {
      await recovered.dispose();
    }
    expect(docker.containers()).toEqual([]);
  });

  test("must be of the backup's major version", async () => {
    await using context = await room();
    const other = await docker.imageOf(15);
    const work = source.recover("latest", { context, setting: wanting({ runtime: "docker", image: other }) });
    const error = await errorOf(work);
    expect(error).toBeInstanceOf(UserError);
    expect(error.message).toMatch(/holds PostgreSQL 15\.\S+, but the backup is of PostgreSQL 17/);
    expectNothingLeft(context);
  });

  test("needs an image that holds one, and that can be had", async () => {
    await using context = await room();
    const shell = docker.shellImage();
    const none = await errorOf(
      source.recover("latest", { context, setting: wanting({ runtime: "docker", image: shell }) }),
    );
    expect(none).toBeInstanceOf(UserError);
    expect(none.message).toContain("holds no PostgreSQL server program");

    // Nothing listens there.
    const absent = "127.0.0.1:9/drillbook/nowhere:17";
    const error = await errorOf(
      source.recover("latest", { context, setting: wanting({ runtime: "docker", image: absent }) }),
    );
    expect(error).toBeInstanceOf(ToolError);
    expect(error.message).toMatch(/could not pull it: .*(refused|dial)/);
    expect(error.message).toContain("server.image");
    expectNothingLeft(context);
  });

  test("refuses a setting in the server's own words", async () => {
    await using context = await room();
    const server = { runtime: "docker", image, settings: { no_such_setting: 1 } };
    const error = await errorOf(source.recover("latest", { context, setting: wanting(server) }));
    expect(error).toBeInstanceOf(ToolError);
    expect(error.message).toContain('unrecognized configuration parameter "no_such_setting"');
    expectNothingLeft(context);
  });

  test.each(["while the server waits for WAL", "while it is tried out"])(
    "is gone after an abort %s",
    async (moment) => {
      await using context = await room();
      const store = {
        ...source.taking.store,
        get: (key: string, options?: Parameters<typeof source.taking.store.get>[1]) =>
          key.includes("/wal/") && key.endsWith(".zst")
            ? new Promise<never>((_resolve, reject) => {
                options?.signal?.addEventListener("abort", () => reject(new AbortedError()), { once: true });
              })
            : source.taking.store.get(key, options),
      };
      const setting = {
        ...wanting({ runtime: "docker", image }),
        store: Object.assign(Object.create(source.taking.store), store),
      };
      const work = source.recover("latest", { context, setting });
      work.catch(() => undefined);
      await until(() =>
        moment === "while it is tried out" ? docker.containers().length > 0 : waitsForWal(context),
      );
      context.abort();
      await expect(work).rejects.toThrow(AbortedError);
      expectNothingLeft(context);
    },
  );

  test.each(["hang", "hang-wal"])("is gone after kill -9 of this process (%s)", async (mode) => {
    await using context = await room();
    const storeFolder = join(source.taking.context.workDir, "store");
    const server = JSON.stringify({ runtime: "docker", image });
    const args = [CHILD, storeFolder, server, context.workDir, "latest", mode];
    const child = spawn(process.execPath, args, {
      cwd: "/",
      env: docker.env,
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      if (mode === "hang") await once(child.stdout, "data");
      else await until(() => waitsForWal(context));
      expect(docker.containers()).toHaveLength(1);
    } finally {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    await until(() => context.remains().length + docker.containers().length === 0);
    expectNothingLeft(context);
  });

  test("keeps running when it is wanted, and says how it is stopped", async () => {
    await using context = await room();
    const recovered = await source.recover("latest", {
      context,
      setting: wanting({ runtime: "docker", image }),
    });
    await recovered.dispose({ keep: true });
    const line = context.lines.find((one) => one.includes("keeps running"));
    const name = /as container (drillbook-\w+): .*"docker stop \1"/.exec(line ?? "")?.[1] ?? "";
    try {
      expect(await ask(recovered, "SELECT count(*) FROM orders")).toBe("2000");
    } finally {
      docker.run("stop", name);
    }
    await until(() => docker.containers().length === 0);
    expect(docker.containers()).toEqual([]);
  });

  test("tells damaged WAL from trouble of its own", async () => {
    await using context = await room();
    await using damaged = await openSource({ postgres: { major: MAJOR } });
    await damaged.server.query("CREATE TABLE orders AS SELECT 1 AS id");
    await damaged.backup();
    await damaged.server.query("INSERT INTO orders SELECT generate_series(1, 1000)");
    await damaged.backup("wal");
    const { store } = damaged.taking;
    const keys = (await keysOf(store, segmentKeyFolder())).filter((key) => key.endsWith(".zst"));
    const last = keys.sort().at(-1) ?? "";
    await store.put(last, bytes(Buffer.from("not a segment")));
    const setting = withConfig(damaged, { server: { runtime: "docker", image } });
    const error = await errorOf(damaged.recover("latest", { context, setting }));
    expect(error).toBeInstanceOf(DefectError);
    expect((error as DefectError).subject).toContain(last);
    expectNothingLeft(context);
  });

  function waitsForWal(context: RoomContext): boolean {
    return context.remains().some((line) => line.includes("restore.sh"));
  }

  async function until(holds: () => boolean): Promise<void> {
    for (let tries = 0; tries < 300 && !holds(); tries += 1) await sleep(50);
  }

  function pathOfDocker(): string {
    const folders = (process.env.PATH ?? "").split(":");
    return folders.filter((folder) => !folder.includes("node_modules")).join(":");
  }
});

function segmentKeyFolder(): string {
  return dirname(dirname(segmentKey("db", "000000010000000000000001", false)));
}

async function* bytes(content: Buffer): AsyncGenerator<Buffer> {
  yield content;
}
