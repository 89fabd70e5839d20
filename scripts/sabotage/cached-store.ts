import type { Context } from "../../src/context.ts";
import { openFileStore } from "../../src/stores/file.ts";
import type { Store } from "../../src/stores/store.ts";
import type { Original } from "./overlay.ts";

/**
 * Reads every object of a store at most once: what was fetched stays in a folder of this machine, which needs room for as
 * much as is looked at. What is listed and its sizes are asked for anew each time. Nothing is written to the original.
 */
export function cachedStore(original: Original, folder: string, context: Context): Original {
  const local: Store = openFileStore({ type: "file", path: folder }, "cache", context);
  const fetched = new Map<string, Promise<unknown>>();

  async function fetch(key: string): Promise<unknown> {
    const known = fetched.get(key);
    if (known !== undefined) return await known;
    // By all who ask at once, such as the ranges of one archive.
    const work = original.get(key, { signal: context.signal }).then((body) => local.put(key, body));
    fetched.set(key, work);
    // A failure is not kept: the next one who asks may have more luck.
    work.catch(() => fetched.delete(key));
    return await work;
  }

  return {
    describe: (key) => original.describe(key),
    list: (prefix, signal) => original.list(prefix, signal),
    stat: (key, signal) => original.stat(key, signal),
    async get(key, options) {
      await fetch(key);
      return await local.get(key, options);
    },
  };
}
