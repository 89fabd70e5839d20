import { afterAll, beforeAll, expect, test } from "vitest";
import type { Store } from "../../../../src/stores/store.ts";
import { ask, openSource, type Source } from "../recovering.ts";

let source: Source;

beforeAll(async () => {
  source = await openSource({ config: { integrity: false } });
  await source.server.query("CREATE TABLE t AS SELECT n, md5(n::text) FROM generate_series(1, 20000) n");
  await source.backup();
  await source.server.query("INSERT INTO t SELECT n, md5(n::text) FROM generate_series(1, 20000) n");
  await source.backup("wal");
});
afterAll(() => source[Symbol.asyncDispose]());

/** A store of which the first reading of each packed object has a wrong bit. */
function noisy(store: Store): Store & { readonly spoilt: Set<string> } {
  const spoilt = new Set<string>();
  async function* flip(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    let first = true;
    for await (const chunk of body) {
      const copy = Buffer.from(chunk);
      const middle = copy.length >> 1;
      if (first) copy[middle] = (copy[middle] ?? 0) ^ 16;
      first = false;
      yield copy;
    }
  }
  return {
    ...store,
    spoilt,
    async get(key, options) {
      const body = await store.get(key, options);
      if (spoilt.has(key) || !/\.zst$|backup_manifest$/.test(key)) return body;
      spoilt.add(key);
      return flip(body);
    },
  };
}

test("each kind of packed object is read again when its first reading has a wrong bit", async () => {
  const store = noisy(source.taking.store);
  const recovered = await source.recover("latest", { setting: { ...source.setting, store } });
  try {
    expect(await ask(recovered, "SELECT count(*) FROM t")).toBe("40000");
  } finally {
    await recovered.dispose();
  }
  for (const kind of [/base\.tar\.zst$/, /backup_manifest$/, /\/wal\/.*\.zst$/]) {
    expect([...store.spoilt].some((key) => kind.test(key))).toBe(true);
  }
});
