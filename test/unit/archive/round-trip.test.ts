import { describe, expect, it } from "vitest";
import { FRAMES_IN_FLIGHT } from "../../../src/archive/frames.ts";
import { pack, packedSuffix } from "../../../src/archive/pack.ts";
import { unpack } from "../../../src/archive/unpack.ts";
import { AbortedError } from "../../../src/errors.ts";
import {
  collect,
  inChunks,
  mixedBytes,
  newKeys,
  once,
  packBytes,
  rejection,
  seeded,
  sha256,
} from "./helpers.ts";

const FRAME = 4096;
const keys = await newKeys();

async function roundTrip(raw: Buffer, sealed: boolean, seed: number, largest: number): Promise<void> {
  const random = seeded(seed);
  const packed = pack(inChunks(raw, random, largest), {
    recipients: sealed ? [keys.recipient] : [],
    frameBytes: FRAME,
  });
  const stored = await collect(packed.stream);
  const result = packed.result();
  expect(result).toMatchObject({
    rawBytes: raw.length,
    rawSha256: sha256(raw),
    storedBytes: stored.length,
    storedSha256: sha256(stored),
    frameBytes: FRAME,
    sealed,
  });
  expect(result.frames).toHaveLength(Math.max(1, Math.ceil(raw.length / FRAME)));
  const options = { subject: "object", sealed, identity: keys.identity };
  const indexed = unpack(inChunks(stored, random, largest), { ...options, ...result });
  expect((await collect(indexed)).equals(raw)).toBe(true);
  const unindexed = unpack(inChunks(stored, random, largest), options);
  expect((await collect(unindexed)).equals(raw)).toBe(true);
}

describe.each([true, false])("an archive (sealed: %s)", (sealed) => {
  it.each([0, 1, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME, 50 * FRAME + 17])(
    "of %i bytes comes back as it was",
    async (size) => {
      await roundTrip(mixedBytes(size, seeded(size)), sealed, size, FRAME);
    },
  );

  it("of random size in random chunks comes back as it was", async () => {
    for (let seed = 1; seed <= 40; seed += 1) {
      const random = seeded(seed);
      const raw = mixedBytes(Math.floor(random() ** 3 * 400_000), random);
      await roundTrip(raw, sealed, seed, 1 + Math.floor(random() ** 2 * 100_000));
    }
  });
});

describe("pack", () => {
  it("names its format in the suffix", () => {
    expect(packedSuffix([])).toBe(".zst");
    expect(packedSuffix([keys.recipient])).toBe(".zst.age");
  });

  it("leaves the raw bytes unhashed when that is not wanted", async () => {
    const { result } = await packBytes(Buffer.from("abc"), { recipients: [], hashRaw: false });
    expect(result.rawSha256).toBe("");
    expect(result.rawBytes).toBe(3);
  });

  it("writes the content size and a checksum into each frame", async () => {
    const { bytes } = await packBytes(Buffer.alloc(1000, "x"), { recipients: [] });
    // Frame header descriptor (RFC 8878, 3.1.1.1.1): content size in two bytes, checksum.
    expect((bytes[4] ?? 0) >> 6).toBe(1);
    expect((bytes[4] ?? 0) & 0b100).toBe(0b100);
  });

  it("compresses harder at a higher level", async () => {
    const raw = mixedBytes(300_000, seeded(7));
    const fast = await packBytes(raw, { recipients: [], level: 1 });
    const hard = await packBytes(raw, { recipients: [], level: 19 });
    expect(hard.bytes.length).toBeLessThan(fast.bytes.length);
  });

  it("gives small pieces that do not hold on to the room for a whole frame", async () => {
    for (const frameBytes of [2 ** 17 - 1, 2 ** 20]) {
      const packed = pack(once(Buffer.alloc(2 ** 21)), { recipients: [], frameBytes });
      for await (const piece of packed.stream) expect(piece.buffer.byteLength).toBeLessThan(2 ** 17);
    }
  });

  it("keeps no reference to a chunk after it asked for the next", async () => {
    const shared = Buffer.alloc(1000);
    async function* reusing(): AsyncGenerator<Buffer, void, void> {
      for (let value = 1; value <= 9; value += 1) yield shared.fill(value);
    }
    const packed = pack(reusing(), { recipients: [], frameBytes: 1500 });
    const raw = await collect(unpack(packed.stream, { subject: "object", sealed: false }));
    expect(
      raw.equals(Buffer.concat([1, 2, 3, 4, 5, 6, 7, 8, 9].map((value) => Buffer.alloc(1000, value)))),
    ).toBe(true);
  });

  it("has no result before the end of the stream", async () => {
    const packed = pack(once(Buffer.alloc(10)), { recipients: [] });
    expect(() => packed.result()).toThrow("before the stream ended");
    await collect(packed.stream);
    expect(packed.result().rawBytes).toBe(10);
  });

  it("reads only a few frames ahead of whoever takes its output", async () => {
    let given = 0;
    async function* endless(): AsyncGenerator<Buffer, void, void> {
      for (;;) {
        given += FRAME;
        yield Buffer.alloc(FRAME);
      }
    }
    const stream = pack(endless(), { recipients: [], frameBytes: FRAME }).stream[Symbol.asyncIterator]();
    await stream.next();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(given).toBeLessThanOrEqual((FRAMES_IN_FLIGHT + 2) * FRAME);
    await stream.return?.();
  });
});

describe.each(["pack", "unpack"] as const)("%s", (name) => {
  function run(source: AsyncIterable<Uint8Array>, signal?: AbortSignal): AsyncIterable<Buffer> {
    return name === "pack"
      ? pack(source, { recipients: [keys.recipient], frameBytes: FRAME, signal }).stream
      : unpack(source, { subject: "object", sealed: false, signal });
  }

  async function* observed(log: string[]): AsyncGenerator<Uint8Array, void, void> {
    const { bytes } = await packBytes(mixedBytes(20 * FRAME, seeded(3)), {
      recipients: [],
      frameBytes: FRAME,
    });
    try {
      for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000);
    } finally {
      log.push("closed");
    }
  }

  it("passes on what the source throws, unchanged", async () => {
    const failure = new Error("connection reset");
    async function* failing(): AsyncGenerator<Uint8Array, void, void> {
      yield* observed([]);
      throw failure;
    }
    expect(await rejection(collect(run(failing())))).toBe(failure);
  });

  it("closes its source when the reader leaves early", async () => {
    const log: string[] = [];
    for await (const _ of run(observed(log))) break;
    expect(log).toEqual(["closed"]);
  });

  it("stops at the signal while the source is silent", async () => {
    const stop = new AbortController();
    const silent: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => ({
        next: () => {
          setImmediate(() => stop.abort());
          return new Promise(() => undefined);
        },
        return: () => new Promise(() => undefined),
      }),
    };
    expect(await rejection(collect(run(silent, stop.signal)))).toBeInstanceOf(AbortedError);
  });

  it("does not start after the signal, and closes the source when it comes in the middle", async () => {
    const log: string[] = [];
    expect(await rejection(collect(run(observed(log), AbortSignal.abort())))).toBeInstanceOf(AbortedError);
    const stop = new AbortController();
    async function readSome(): Promise<void> {
      for await (const _ of run(observed(log), stop.signal)) stop.abort();
    }
    expect(await rejection(readSome())).toBeInstanceOf(AbortedError);
    await new Promise((resolve) => setImmediate(resolve));
    expect(log).toEqual(["closed"]);
  });
});
