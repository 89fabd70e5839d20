import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once as onceEvent } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ToolError, UserError } from "../../../src/errors.ts";
import { UNFINISHED } from "../../../src/stores/keys.ts";
import { openStore } from "../../../src/stores/open.ts";
import { readAll, type Store } from "../../../src/stores/store.ts";
import { noise, once } from "../../support/bytes.ts";
import { type TestContext, testContext } from "../../support/context.ts";

const isRoot = process.getuid?.() === 0;
const STORES = new URL("../../../src/stores/", import.meta.url);

let context: TestContext;
let folder: string;
let store: Store;

beforeEach(async () => {
  context = await testContext();
  folder = await mkdtemp(join(tmpdir(), "drillbook-file-"));
  store = await open(folder);
});
afterEach(async () => {
  store.close();
  await context[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

function open(path: string, prefix?: string): Promise<Store> {
  return openStore({ type: "file", path, prefix }, "local", context);
}

async function keysOf(from: Store): Promise<string[]> {
  const keys: string[] = [];
  for await (const info of from.list("")) keys.push(info.key);
  return keys;
}

function system(command: string, args: readonly string[]): void {
  execFileSync(command, args);
}

/** Runs a module that has `openStore`, `context` and `folder` in scope, in a process of its own. */
function child(source: string): ChildProcess {
  const prelude = `
    import { openStore } from ${JSON.stringify(new URL("open.ts", STORES).href)};
    const log = { debug() {}, info() {}, warning() {} };
    const context = { log, signal: new AbortController().signal, env: {}, mask() {} };
    const folder = ${JSON.stringify(folder)};
    const store = await openStore({ type: "file", path: folder }, "local", context);
  `;
  return spawn(process.execPath, ["--input-type=module", "-e", prelude + source], {
    stdio: ["ignore", "pipe", "inherit"],
  });
}

async function outputOf(process: ChildProcess): Promise<string> {
  let output = "";
  process.stdout?.on("data", (chunk) => {
    output += String(chunk);
  });
  const [code] = await onceEvent(process, "close");
  expect(code).toBe(0);
  return output;
}

test("of several processes that create the same keys exactly one wins each", async () => {
  const source = `
    const won = [];
    for (let n = 0; n < 40; n += 1) {
      if (await store.create("lock/" + n, Buffer.from(String(process.pid)))) won.push(n);
    }
    console.log(JSON.stringify({ pid: process.pid, won }));
  `;
  const outputs = await Promise.all([1, 2, 3].map(() => outputOf(child(source))));
  const results = outputs.map((output): { pid: number; won: number[] } => JSON.parse(output));
  const winners = results.flatMap(({ pid, won }) => won.map((n) => ({ pid, n })));
  expect(winners.map(({ n }) => n).toSorted((a, b) => a - b)).toEqual(
    Array.from({ length: 40 }, (_, n) => n),
  );
  for (const { pid, n } of winners)
    expect(await readFile(join(folder, `lock/${n}`), "utf8")).toBe(String(pid));
});

test("a process killed in the middle of a put leaves nothing but a file that listings skip", async () => {
  await store.put("db/old", once("old"));
  const killed = child(`
    async function* endless() { for (;;) { yield Buffer.alloc(65536); console.log("written"); } }
    await store.put("db/old", endless());
  `);
  if (killed.stdout === null) throw new Error("no output");
  await onceEvent(killed.stdout, "data");
  killed.kill("SIGKILL");
  await onceEvent(killed, "close");

  const names = await readdir(join(folder, "db"));
  expect(names.filter((name) => UNFINISHED.test(name))).toHaveLength(1);
  expect(await keysOf(store)).toEqual(["db/old"]);
  expect((await readAll(await store.get("db/old"))).toString()).toBe("old");
});

test("a name of an unfinished file is no key", async () => {
  await expect(store.put("db/.drillbook-1-aa.partial", once("x"))).rejects.toThrow(ToolError);
});

test("a reader keeps the object it began to read while another replaces it", async () => {
  await store.put("a", noise(4 * 2 ** 20));
  const reading = await store.get("a");
  await store.put("a", once("new"));
  expect((await readAll(reading)).length).toBe(4 * 2 ** 20);
});

test("a file that becomes shorter while it is read is an error, never a silent end", async () => {
  await store.put("a", noise(4 * 2 ** 20));
  const reading = await store.get("a");
  await writeFile(join(folder, "a"), "short");
  await expect(readAll(reading)).rejects.toThrow(/became shorter while it was read/);
});

test("folders that became empty are removed, the store's own is not", async () => {
  await store.put("db/wal/00000001/a", once("x"));
  await store.put("db/b", once("x"));
  await store.delete(["db/wal/00000001/a"]);
  expect(await readdir(join(folder, "db"))).toEqual(["b"]);
  await store.delete(["db/b"]);
  expect(await readdir(folder)).toEqual([]);
});

test("nobody else can read what is written", async () => {
  await store.put("db/a", once("x"));
  expect((await stat(join(folder, "db/a"))).mode & 0o007).toBe(0);
  expect((await stat(join(folder, "db"))).mode & 0o007).toBe(0);
});

test("follows a link to a folder on another disk", async () => {
  await mkdir(join(folder, "elsewhere"));
  await symlink(join(folder, "elsewhere"), join(folder, "db"));
  await store.put("db/a", once("x"));
  expect(await keysOf(store)).toEqual(["db/a", "elsewhere/a"]);
});

test("refuses a prefix that leads out of the folder", async () => {
  await expect(open(folder, "../other")).rejects.toThrow(UserError);
});

describe("what the file system refuses becomes one sentence", () => {
  test("a file where a folder is needed", async () => {
    await store.put("db", once("a file"));
    const putting = store.put("db/a", once("x"));
    await expect(putting).rejects.toThrow(ToolError);
    await expect(putting).rejects.toThrow(/^Writing .*\/db\/a failed because .* check the store's path\.$/);
    expect(await store.stat("db/a")).toBeUndefined();
  });

  test("a folder where an object is needed", async () => {
    await store.put("db/a", once("x"));
    await expect(store.put("db", once("x"))).rejects.toThrow(/there is a folder where a file is needed/);
    await expect(store.create("db", Buffer.from("x"))).resolves.toBe(false);
    expect(await store.stat("db")).toBeUndefined();
    await expect(store.delete(["db"])).rejects.toThrow(ToolError);
    expect(await keysOf(store)).toEqual(["db/a"]);
  });

  test.skipIf(isRoot)("a folder in which this user may not write or read", async () => {
    await mkdir(join(folder, "db"));
    await chmod(join(folder, "db"), 0);
    for (const work of [
      () => store.put("db/a", once("x")),
      () => store.create("db/a", Buffer.from("x")),
      () => store.get("db/a"),
      () => store.stat("db/a"),
      () => store.delete(["db/a"]),
      () => keysOf(store),
    ]) {
      await expect(work()).rejects.toThrow(/this user may not do that: check the owner and mode/);
    }
    await chmod(join(folder, "db"), 0o700);
  });

  test.skipIf(!isRoot || process.platform !== "linux")(
    "a disk that is full, and one mounted read-only",
    async () => {
      const disk = join(folder, "disk");
      await mkdir(disk);
      system("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]);
      try {
        const small = await open(disk);
        await small.put("kept", once("kept"));
        const putting = small.put("big", noise(4 * 2 ** 20));
        await expect(putting).rejects.toThrow(ToolError);
        await expect(putting).rejects.toThrow(
          /^Writing .*\/big failed because the disk is full: free space there/,
        );
        await expect(putting).rejects.toMatchObject({ cause: { code: "ENOSPC" } });
        expect(await readdir(disk)).toEqual(["kept"]);

        system("mount", ["-o", "remount,ro", disk]);
        await expect(small.put("a", once("x"))).rejects.toThrow(/mounted read-only/);
        await expect(small.delete(["kept"])).rejects.toThrow(/mounted read-only/);
      } finally {
        system("umount", [disk]);
      }
    },
  );
});

test("opening a file store does not load the AWS SDK, opening an S3 store does", async () => {
  const source = (type: string): string => `
    import { registerHooks } from "node:module";
    let loaded = false;
    registerHooks({ resolve(specifier, context, next) {
      loaded ||= specifier.startsWith("@aws-sdk/");
      return next(specifier, context);
    } });
    const { openStore: again } = await import(${JSON.stringify(new URL("open.ts?again", STORES).href)});
    const env = { AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b", AWS_REGION: "eu-west-1" };
    const config = { type: ${JSON.stringify(type)}, path: folder, bucket: "b" };
    (await again(config, "x", { ...context, env })).close();
    console.log(loaded);
  `;
  expect((await outputOf(child(source("file")))).trim()).toBe("false");
  expect((await outputOf(child(source("s3")))).trim()).toBe("true");
});
