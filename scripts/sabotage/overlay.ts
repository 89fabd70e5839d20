import { DefectError } from "../../src/errors.ts";
import { checkKey, checkPrefix, compareKeys } from "../../src/stores/keys.ts";
import {
  type GetOptions,
  type ObjectInfo,
  ObjectMissing,
  readAll,
  type Store,
} from "../../src/stores/store.ts";

/** All that is ever asked of the store below: it cannot be written to through this. */
export type Original = Pick<Store, "describe" | "get" | "list" | "stat">;

/**
 * What lies under a key: bytes of its own, or those of an object below, perhaps cut short or with some bytes flipped. Those
 * are only read when somebody reads the key, so that an archive of any size can be broken for nothing.
 */
export type Content =
  | { readonly bytes: Buffer }
  | { readonly from: string; readonly length: number; readonly flipped: readonly number[] };

/** A store over another: writes and deletes stay here, and what was not touched is read from below. */
export interface Overlay extends Store {
  /** What lies under the key now. Throws {@link ObjectMissing}. */
  content(key: string): Promise<Content>;
  /** Replaces what lies under the key. The object keeps its age when it has one. */
  place(key: string, content: Content): Promise<void>;
}

interface Entry {
  readonly content: Content;
  readonly modified: Date;
}

/** Opens an overlay in memory. Nothing is ever written to the original or deleted from it. */
export function overlayOf(original: Original): Overlay {
  /** By key; undefined: deleted. */
  const entries = new Map<string, Entry | undefined>();

  async function find(key: string, signal?: AbortSignal): Promise<Entry | undefined> {
    checkKey(key);
    if (entries.has(key)) return entries.get(key);
    const below = await original.stat(key, signal);
    return below && { content: { from: key, length: below.bytes, flipped: [] }, modified: below.modified };
  }

  async function need(key: string, signal?: AbortSignal): Promise<Entry> {
    const entry = await find(key, signal);
    if (entry === undefined) throw new ObjectMissing(original.describe(key));
    return entry;
  }

  function ownKeys(prefix: string): string[] {
    return [...entries.keys()].filter((key) => key.startsWith(prefix)).sort(compareKeys);
  }

  async function* list(prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectInfo> {
    const own = ownKeys(checkPrefix(prefix)).values();
    let next = own.next();
    function* until(key: string | undefined): Generator<ObjectInfo> {
      for (; !next.done && (key === undefined || compareKeys(next.value, key) <= 0); next = own.next()) {
        const entry = entries.get(next.value);
        if (entry !== undefined) yield infoOf(next.value, entry);
      }
    }
    for await (const object of original.list(prefix, signal)) {
      yield* until(object.key);
      if (!entries.has(object.key)) yield object;
    }
    yield* until(undefined);
  }

  async function read(
    key: string,
    content: Content,
    options: GetOptions,
  ): Promise<AsyncIterable<Uint8Array>> {
    const whole = lengthOf(content);
    const { offset, length } = options.range ?? { offset: 0, length: whole };
    if (offset + length > whole) {
      const subject = original.describe(key);
      throw new DefectError(
        subject,
        `${subject} has ${whole} bytes and ends before byte ${offset + length}.`,
      );
    }
    if ("bytes" in content) return once(content.bytes.subarray(offset, offset + length));
    if (length === 0) return once(Buffer.alloc(0));
    const body = await original.get(content.from, { ...options, range: { offset, length } });
    return flip(body, offset, content.flipped);
  }

  return {
    describe: (key) => original.describe(key),
    removeUnfinished: async () => 0,
    async put(key, body) {
      checkKey(key);
      const bytes = await readAll(body);
      entries.set(key, { content: { bytes }, modified: new Date() });
      return bytes.length;
    },
    async create(key, body, signal) {
      if ((await find(key, signal)) !== undefined) return false;
      entries.set(key, { content: { bytes: Buffer.from(body) }, modified: new Date() });
      return true;
    },
    async get(key, options = {}) {
      checkKey(key);
      if (!entries.has(key)) return await original.get(key, options);
      const { content } = await need(key);
      return await read(key, content, options);
    },
    list,
    async stat(key, signal) {
      const entry = await find(key, signal);
      return entry && infoOf(key, entry);
    },
    async delete(keys) {
      for (const key of keys) {
        checkKey(key);
        entries.set(key, undefined);
      }
    },
    // The store below belongs to somebody else.
    close: () => undefined,
    content: async (key) => (await need(key)).content,
    async place(key, content) {
      const modified = (await find(key))?.modified ?? new Date();
      entries.set(key, { content, modified });
    },
  };
}

/** The first bytes of a content. */
export function cutTo(content: Content, length: number): Content {
  return "bytes" in content
    ? { bytes: content.bytes.subarray(0, length) }
    : { ...content, length: Math.min(length, content.length) };
}

/** A content with one byte changed: every bit of it. */
export function flippedAt(content: Content, offset: number): Content {
  if ("from" in content) return { ...content, flipped: [...content.flipped, offset] };
  const bytes = Buffer.from(content.bytes);
  bytes[offset] = ~(bytes[offset] ?? 0);
  return { bytes };
}

export function lengthOf(content: Content): number {
  return "bytes" in content ? content.bytes.length : content.length;
}

function infoOf(key: string, { content, modified }: Entry): ObjectInfo {
  return { key, bytes: lengthOf(content), modified };
}

async function* once(bytes: Buffer): AsyncGenerator<Uint8Array> {
  if (bytes.length > 0) yield bytes;
}

/** `body` begins at `offset` of the object, `flipped` counts from the object's first byte. */
async function* flip(
  body: AsyncIterable<Uint8Array>,
  offset: number,
  flipped: readonly number[],
): AsyncGenerator<Uint8Array> {
  let at = offset;
  for await (const chunk of body) {
    const here = flipped.filter((one) => one >= at && one < at + chunk.length);
    const copy = here.length === 0 ? chunk : Uint8Array.from(chunk);
    for (const one of here) copy[one - at] = ~(copy[one - at] ?? 0);
    at += chunk.length;
    yield copy;
  }
}
