import { readExactly } from "./read-exactly.ts";
import { anySignal } from "./signals.ts";
import type { Store } from "./store.ts";

export interface ParallelOptions {
  /** The object's size in bytes, as its manifest says. */
  readonly bytes: number;
  readonly rangeBytes?: number | undefined;
  /** How many ranges are under way or waiting for the consumer; memory is `parallel * rangeBytes`. */
  readonly parallel?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

const RANGE_BYTES = 8 * 2 ** 20;
const PARALLEL = 4;

/**
 * The bytes of an object in order, fetched by several range requests at once. When the consumer stops early or a
 * range fails, every request ends. Throws what {@link Store.get} throws, so a DefectError for an object that is
 * shorter than `bytes`.
 */
export async function* getParallel(
  store: Store,
  key: string,
  options: ParallelOptions,
): AsyncGenerator<Buffer> {
  const { bytes, rangeBytes = RANGE_BYTES, parallel = PARALLEL } = options;
  const stop = new AbortController();
  const signal = anySignal(options.signal, stop.signal);

  function fetchRange(offset: number): Promise<Buffer> {
    return getRange(store, key, { offset, length: Math.min(rangeBytes, bytes - offset) }, signal);
  }

  const pending: Promise<Buffer>[] = [];
  let offset = 0;
  try {
    // An object of no bytes is still asked for: it may be missing.
    if (bytes === 0) await fetchRange(0);
    while (offset < bytes || pending.length > 0) {
      while (offset < bytes && pending.length < parallel) {
        const range = fetchRange(offset);
        // It is awaited in its turn; until then its failure must not count as unhandled.
        range.catch(() => undefined);
        pending.push(range);
        offset += rangeBytes;
      }
      const next = await pending[0];
      if (next !== undefined) yield next;
      pending.shift();
    }
  } finally {
    stop.abort();
    await Promise.allSettled(pending);
  }
}

/** These bytes of an object. Throws what {@link Store.get} throws. */
export async function getRange(
  store: Store,
  key: string,
  range: { readonly offset: number; readonly length: number },
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  return readExactly(await store.get(key, { signal, range }), range.length, store.describe(key));
}
