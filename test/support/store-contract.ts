import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { AbortedError, DefectError, ToolError } from "../../src/errors.ts";
import { getParallel } from "../../src/stores/ranges.ts";
import { type ObjectInfo, ObjectMissing, readAll, type Store } from "../../src/stores/store.ts";
import { digest, noise, once } from "./bytes.ts";

export interface OpenedStore {
  readonly store: Store;
  /** Aborts the context that the store was opened with. */
  abort(): void;
  /** The same place, opened a second time as another process would. */
  again(): Promise<Store>;
  close(): Promise<void>;
}

const MIB = 2 ** 20;

/** What every kind of store promises; each kind runs it against the real thing. */
export function storeContract(kind: string, open: () => Promise<OpenedStore>): void {
  describe(`a ${kind} store`, () => {
    let opened: OpenedStore;
    let store: Store;

    beforeEach(async () => {
      opened = await open();
      store = opened.store;
    });
    afterEach(async () => {
      store.close();
      await opened.close();
    });

    async function text(key: string): Promise<string> {
      return (await readAll(await store.get(key))).toString();
    }

    async function keys(prefix = ""): Promise<string[]> {
      return (await list(prefix)).map((info) => info.key);
    }

    async function list(prefix = ""): Promise<ObjectInfo[]> {
      const found: ObjectInfo[] = [];
      for await (const info of store.list(prefix)) found.push(info);
      return found;
    }

    test("gives back what was put and says its size", async () => {
      expect(await store.put("db/a.txt", once("hello"))).toBe(5);
      expect(await text("db/a.txt")).toBe("hello");
    });

    test("keeps an object of no bytes", async () => {
      expect(await store.put("empty", once(""))).toBe(0);
      expect(await text("empty")).toBe("");
      expect((await store.stat("empty"))?.bytes).toBe(0);
    });

    test("replaces what is there", async () => {
      await store.put("a", once("a long first content"));
      await store.put("a", once("second"));
      expect(await text("a")).toBe("second");
    });

    test("keeps the content of chunks whose memory is used again by the source", async () => {
      async function* reusing(): AsyncGenerator<Uint8Array> {
        const buffer = Buffer.alloc(3);
        for (const word of ["one", "two", "six"]) {
          buffer.write(word);
          yield buffer;
        }
      }
      await store.put("a", reusing());
      expect(await text("a")).toBe("onetwosix");
    });

    test("keeps every byte of an object of many parts", async () => {
      const bytes = 20 * MIB + 12_345;
      const written = await digest(noise(bytes, 300_000));
      expect(await store.put("big", noise(bytes, 300_000))).toBe(bytes);
      expect(await digest(await store.get("big"))).toEqual(written);
      expect(await digest(getParallel(store, "big", { bytes, rangeBytes: 3 * MIB + 1 }))).toEqual(written);
    });

    test("gives exactly the range that is asked for", async () => {
      await store.put("a", once("0123456789"));
      const cut = async (offset: number, length: number): Promise<string> =>
        (await readAll(await store.get("a", { range: { offset, length } }))).toString();
      expect(await cut(0, 1)).toBe("0");
      expect(await cut(0, 10)).toBe("0123456789");
      expect(await cut(3, 4)).toBe("3456");
      expect(await cut(9, 1)).toBe("9");
      expect(await cut(4, 0)).toBe("");
    });

    test("proves a defect when a range goes beyond the end of the object", async () => {
      await store.put("short", once("0123456789"));
      for (const range of [
        { offset: 5, length: 6 },
        { offset: 10, length: 1 },
        { offset: 500, length: 10 },
      ]) {
        const reading = store.get("short", { range });
        await expect(reading).rejects.toThrow(DefectError);
        await expect(reading).rejects.toMatchObject({ subject: store.describe("short") });
      }
    });

    test("throws ObjectMissing for an absent object, whole or in ranges", async () => {
      await store.put("there", once("x"));
      await expect(store.get("absent")).rejects.toThrow(ObjectMissing);
      await expect(store.get("absent", { range: { offset: 0, length: 1 } })).rejects.toThrow(ObjectMissing);
      await expect(store.get("absent", { range: { offset: 0, length: 0 } })).rejects.toThrow(ObjectMissing);
      await expect(digest(getParallel(store, "absent", { bytes: 0 }))).rejects.toThrow(ObjectMissing);
      expect(await store.stat("absent")).toBeUndefined();
    });

    test("tells size and date of an object", async () => {
      const before = Date.now();
      await store.put("db/a", once("hello"));
      const info = await store.stat("db/a");
      expect(info).toMatchObject({ key: "db/a", bytes: 5 });
      expect(Math.abs((info?.modified.getTime() ?? 0) - before)).toBeLessThan(60_000);
    });

    test("lists keys in the order of their bytes, with sizes, below a prefix only", async () => {
      for (const key of ["b", "a/b", "a-b/c", "a/a/a", "a.json", "ab", "B"]) await store.put(key, once(key));
      expect(await keys()).toEqual(["B", "a-b/c", "a.json", "a/a/a", "a/b", "ab", "b"]);
      expect(await keys("a/")).toEqual(["a/a/a", "a/b"]);
      expect(await keys("a")).toEqual(["a-b/c", "a.json", "a/a/a", "a/b", "ab"]);
      expect(await keys("a/a/a")).toEqual(["a/a/a"]);
      expect(await keys("none/")).toEqual([]);
      expect((await list("ab"))[0]).toMatchObject({ key: "ab", bytes: 2 });
    });

    test("an empty store lists nothing", async () => {
      expect(await keys()).toEqual([]);
      expect(await keys("db/wal/")).toEqual([]);
    });

    test("creates an object only when its key is free", async () => {
      expect(await store.create("lock", Buffer.from("first"))).toBe(true);
      expect(await store.create("lock", Buffer.from("second"))).toBe(false);
      expect(await text("lock")).toBe("first");
      expect(await (await opened.again()).create("lock", Buffer.from("third"))).toBe(false);
      expect(await store.create("other", Buffer.from("x"))).toBe(true);
      expect(await text("lock")).toBe("first");
    });

    test("deletes objects, and absent ones without complaint", async () => {
      for (const key of ["a/1", "a/2", "b"]) await store.put(key, once(key));
      await store.delete(["a/1", "a/2", "absent", "a/absent"]);
      expect(await keys()).toEqual(["b"]);
      await store.delete([]);
      expect(await keys()).toEqual(["b"]);
    });

    test("leaves nothing, and not the old content changed, when the source fails", async () => {
      async function* failing(bytes: number): AsyncGenerator<Uint8Array> {
        yield* noise(bytes);
        throw new Error("the source broke");
      }
      await store.put("old", once("old"));
      for (const bytes of [10, 20 * MIB]) {
        await expect(store.put("new", failing(bytes))).rejects.toThrow("the source broke");
        await expect(store.put("old", failing(bytes))).rejects.toThrow("the source broke");
      }
      expect(await keys()).toEqual(["old"]);
      expect(await text("old")).toBe("old");
    });

    test("ends a put at once and leaves nothing when its signal fires while the source hangs", async () => {
      const controller = new AbortController();
      async function* hanging(): AsyncGenerator<Uint8Array> {
        yield* noise(20 * MIB);
        setTimeout(() => controller.abort(), 10);
        await new Promise(() => undefined);
      }
      const putting = store.put("new", hanging(), { signal: controller.signal });
      await expect(putting).rejects.toThrow(AbortedError);
      expect(await keys()).toEqual([]);
    });

    test("lets a source free what it holds when a put is aborted", async () => {
      const controller = new AbortController();
      let freed = false;
      async function* source(): AsyncGenerator<Uint8Array> {
        try {
          for (;;) {
            yield Buffer.alloc(MIB);
            controller.abort();
          }
        } finally {
          freed = true;
        }
      }
      await expect(store.put("new", source(), { signal: controller.signal })).rejects.toThrow(AbortedError);
      expect(freed).toBe(true);
    });

    test("does nothing at all once its signal has fired", async () => {
      await store.put("a", once("a"));
      const signal = AbortSignal.abort();
      await expect(store.put("b", once("b"), { signal })).rejects.toThrow(AbortedError);
      await expect(store.create("b", Buffer.from("b"), signal)).rejects.toThrow(AbortedError);
      await expect(store.get("a", { signal })).rejects.toThrow(AbortedError);
      await expect(store.stat("a", signal)).rejects.toThrow(AbortedError);
      await expect(store.delete(["a"], signal)).rejects.toThrow(AbortedError);
      await expect(store.list("", signal)[Symbol.asyncIterator]().next()).rejects.toThrow(AbortedError);
      expect(await keys()).toEqual(["a"]);
    });

    test("ends with its context, but a call with a signal of its own can still clean up", async () => {
      await store.put("a", once("a"));
      opened.abort();
      await expect(store.stat("a")).rejects.toThrow(AbortedError);
      await expect(store.delete(["a"])).rejects.toThrow(AbortedError);
      const patient = AbortSignal.timeout(30_000);
      const left: string[] = [];
      for await (const object of store.list("", patient)) left.push(object.key);
      expect(left).toEqual(["a"]);
      await store.delete(left, patient);
      expect(await store.stat("a", patient)).toBeUndefined();
    });

    test("ends a get when its signal fires in the middle", async () => {
      await store.put("big", noise(20 * MIB));
      const controller = new AbortController();
      async function reading(): Promise<void> {
        for await (const chunk of await store.get("big", { signal: controller.signal })) {
          if (chunk.byteLength > 0) controller.abort();
        }
      }
      await expect(reading()).rejects.toThrow(AbortedError);
    });

    test("a consumer may stop early", async () => {
      await store.put("big", noise(20 * MIB));
      for await (const chunk of await store.get("big")) {
        expect(chunk.byteLength).toBeGreaterThan(0);
        break;
      }
      for await (const chunk of getParallel(store, "big", { bytes: 20 * MIB, rangeBytes: MIB })) {
        expect(chunk.byteLength).toBe(MIB);
        break;
      }
    });

    test.each(["../up", "a/../../up", "/etc/passwd", "a//b", "a/./b", "", "a/", "a\0b", "a\\b"])(
      "refuses the key %j everywhere",
      async (key) => {
        await expect(store.put(key, once("x"))).rejects.toThrow(ToolError);
        await expect(store.create(key, Buffer.from("x"))).rejects.toThrow(ToolError);
        await expect(store.get(key)).rejects.toThrow(ToolError);
        await expect(store.stat(key)).rejects.toThrow(ToolError);
        await expect(store.delete([key])).rejects.toThrow(ToolError);
        expect(await keys()).toEqual([]);
      },
    );

    test("refuses to list outside of itself", async () => {
      const listing = store.list("../")[Symbol.asyncIterator]();
      await expect(listing.next()).rejects.toThrow(ToolError);
    });
  });
}
