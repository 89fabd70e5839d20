import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { cachedStore } from "../../../../scripts/sabotage/cached-store.ts";
import { cutTo, flippedAt, type Original, overlayOf } from "../../../../scripts/sabotage/overlay.ts";
import { DefectError } from "../../../../src/errors.ts";
import { openFileStore } from "../../../../src/stores/file.ts";
import { type GetOptions, ObjectMissing, readAll, type Store } from "../../../../src/stores/store.ts";
import { type TestContext, testContext } from "../../../support/context.ts";

let context: TestContext;
let below: Store;

beforeEach(async () => {
  context = await testContext();
  below = openFileStore({ type: "file", path: join(context.workDir, "below") }, "below", context);
  for (const key of ["db/a", "db/b", "db/c"]) await below.put(key, once(`${key} as it was`));
});
afterEach(() => context[Symbol.asyncDispose]());

async function* once(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

async function read(store: Original, key: string, options?: GetOptions): Promise<string> {
  return (await readAll(await store.get(key, options))).toString("latin1");
}

async function keys(store: Original, prefix = ""): Promise<string[]> {
  const found: string[] = [];
  for await (const object of store.list(prefix)) found.push(object.key);
  return found;
}

test("what is written and deleted is seen above, and below nothing is changed", async () => {
  const overlay = overlayOf(below);
  await overlay.put("db/b", once("new"));
  await overlay.put("db/bb", once("one more"));
  expect(await overlay.create("db/c", Buffer.from("taken"))).toBe(false);
  expect(await overlay.create("db/d", Buffer.from("free"))).toBe(true);
  await overlay.delete(["db/a", "db/nothing"]);

  expect(await keys(overlay, "db/")).toEqual(["db/b", "db/bb", "db/c", "db/d"]);
  expect(await read(overlay, "db/b")).toBe("new");
  expect(await read(overlay, "db/c")).toBe("db/c as it was");
  expect((await overlay.stat("db/b"))?.bytes).toBe(3);
  expect(await overlay.stat("db/a")).toBeUndefined();
  await expect(overlay.get("db/a")).rejects.toThrow(ObjectMissing);

  expect(await keys(below)).toEqual(["db/a", "db/b", "db/c"]);
  for (const key of await keys(below)) expect(await read(below, key)).toBe(`${key} as it was`);
});

test("an object that is cut, flipped or moved is only read when it is asked for", async () => {
  const reads: string[] = [];
  const overlay = overlayOf({
    ...below,
    get: (key, options) => {
      reads.push(key);
      return below.get(key, options);
    },
  });
  const [a, b] = [await overlay.content("db/a"), await overlay.content("db/b")];
  await overlay.place("db/a", cutTo(b, 4));
  await overlay.place("db/b", flippedAt(a, 1));
  expect((await overlay.stat("db/a"))?.bytes).toBe(4);
  expect(reads).toEqual([]);

  expect(await read(overlay, "db/a")).toBe("db/b");
  const flipped = `d${String.fromCharCode(~0x62 & 0xff)}/a as it was`;
  expect(await read(overlay, "db/b")).toBe(flipped);
  expect(await read(overlay, "db/b", { range: { offset: 1, length: 3 } })).toBe(flipped.slice(1, 4));
  await expect(overlay.get("db/a", { range: { offset: 2, length: 3 } })).rejects.toThrow(DefectError);
});

test("a cache reads each object once, whoever asks for it at the same time", async () => {
  const reads: string[] = [];
  const folder = await mkdtemp(join(tmpdir(), "drillbook-cache-"));
  try {
    const spied: Original = {
      ...below,
      get: (key, options) => {
        reads.push(key);
        return below.get(key, options);
      },
    };
    const cache = cachedStore(spied, folder, context);
    const range = { offset: 3, length: 1 };
    const texts = [read(cache, "db/a"), read(cache, "db/a", { range }), read(cache, "db/a", { range })];
    expect(await Promise.all(texts)).toEqual(["db/a as it was", "a", "a"]);
    expect(await read(cache, "db/a")).toBe("db/a as it was");
    expect(reads).toEqual(["db/a"]);
    await expect(cache.get("db/nothing")).rejects.toThrow(ObjectMissing);
    expect(await keys(cache)).toEqual(["db/a", "db/b", "db/c"]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
