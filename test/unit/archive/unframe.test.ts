import { constants, zstdCompressSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { DamagedArchive } from "../../../src/archive/damage.ts";
import { decompressFrames } from "../../../src/archive/unframe.ts";
import { collect, inChunks, mixedBytes, once, rejection, seeded } from "./helpers.ts";

const CHECKSUM = { params: { [constants.ZSTD_c_checksumFlag]: 1 } };

/** A frame whose header does not say its size, as `zstd` writes when it reads from a pipe. */
function unsized(raw: Buffer): Buffer {
  return zstdCompressSync(raw, CHECKSUM);
}

function sized(raw: Buffer): Buffer {
  return zstdCompressSync(raw, { ...CHECKSUM, pledgedSrcSize: raw.length });
}

function skippable(content: string): Buffer {
  const frame = Buffer.alloc(8 + content.length);
  frame.writeUInt32LE(0x184d2a53, 0);
  frame.writeUInt32LE(content.length, 4);
  frame.write(content, 8);
  return frame;
}

/** A frame that says it has so many bytes, of blocks of 128 KiB of zeros in 4 bytes each. */
function* bomb(contentBytes: bigint | undefined): Generator<Buffer, void, void> {
  const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0x58]);
  if (contentBytes !== undefined) {
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(contentBytes);
    header[4] = 0b11000000;
    yield Buffer.concat([header, size]);
  } else {
    yield header;
  }
  const block = Buffer.alloc(4);
  block.writeUIntLE((131_072 << 3) | (1 << 1), 0, 3);
  for (;;) yield Buffer.alloc(4096, block);
}

async function* counted(
  source: Iterable<Buffer>,
  meter: { bytes: number },
): AsyncGenerator<Buffer, void, void> {
  for (const chunk of source) {
    meter.bytes += chunk.length;
    yield chunk;
  }
}

function decompress(bytes: Buffer): Promise<Buffer> {
  return collect(decompressFrames(once(bytes), "object"));
}

describe("frames one after the other", () => {
  const random = seeded(5);
  const parts = [
    mixedBytes(100_000, random),
    Buffer.alloc(0),
    mixedBytes(300_000, random),
    Buffer.alloc(3_000_000, 7),
  ];
  const raw = Buffer.concat(parts);

  it.each([
    ["that say their size", parts.map(sized)],
    ["that do not say their size", parts.map(unsized)],
    ["of both kinds", parts.map((part, index) => (index % 2 === 0 ? sized(part) : unsized(part)))],
    [
      "with skippable frames",
      [skippable(""), ...parts.map(sized), skippable("padding"), unsized(Buffer.alloc(0))],
    ],
  ])("%s are all decompressed, however they are cut into chunks", async (_, frames) => {
    const bytes = Buffer.concat(frames);
    for (const largest of [7, 1000, 65_536, bytes.length]) {
      const output = decompressFrames(inChunks(bytes, random, largest), "object");
      expect((await collect(output)).equals(raw)).toBe(true);
    }
  });

  it("that are larger than what is kept in memory are decompressed too", async () => {
    const large = Buffer.alloc(40 * 2 ** 20, "0123456789");
    const bytes = Buffer.concat([sized(parts[0] as Buffer), sized(large), sized(parts[2] as Buffer)]);
    const output = [];
    for await (const chunk of decompressFrames(once(bytes), "object")) {
      expect(chunk.length).toBeLessThanOrEqual(16 * 2 ** 20);
      output.push(chunk);
    }
    expect(Buffer.concat(output).equals(Buffer.concat([parts[0] as Buffer, large, parts[2] as Buffer]))).toBe(
      true,
    );
  });

  it("with something else behind them are a defect", async () => {
    const error = await rejection(decompress(Buffer.concat([sized(raw), Buffer.from("garbage")])));
    expect(error).toBeInstanceOf(DamagedArchive);
    expect(error.message).toContain("something else where a zstd frame should start");
  });
});

describe("a frame", () => {
  const raw = mixedBytes(3000, seeded(6));

  it.each([
    ["that says its size", sized(raw)],
    ["that does not say its size", unsized(raw)],
  ])("%s is a defect when it is cut off or changed anywhere", async (_, frame) => {
    for (let length = 0; length < frame.length; length += 1) {
      const error = await rejection(decompress(frame.subarray(0, length)));
      expect(error).toMatchObject({ kind: "truncated", subject: "object" });
    }
    for (let at = 0; at < frame.length; at += 13) {
      const changed = Buffer.from(frame);
      changed[at] = (changed[at] as number) ^ 0x10;
      const outcome = await decompress(changed).catch((error: unknown) => error);
      if (Buffer.isBuffer(outcome)) expect(outcome.equals(raw)).toBe(true);
      else expect(outcome).toBeInstanceOf(DamagedArchive);
    }
  });

  it("whose checksum does not match is said to have one that does not", async () => {
    for (const frame of [sized(raw), unsized(raw)]) {
      frame[frame.length - 1] = (frame.at(-1) as number) ^ 1;
      expect((await rejection(decompress(frame))).message).toContain(
        "checksum of a zstd frame does not match",
      );
    }
  });

  it("that has more or less content than it says is a defect", async () => {
    for (const difference of [-1, 1]) {
      const frame = sized(raw);
      // Content size in two bytes, from 256 on, behind the descriptor and the window.
      frame.writeUInt16LE(raw.length - 256 + difference, 6);
      expect(await rejection(decompress(frame))).toBeInstanceOf(DamagedArchive);
    }
  });
});

describe("a frame made to fill memory", () => {
  it("gives its content piece by piece when it does not say its size", async () => {
    const meter = { bytes: 0 };
    let taken = 0;
    for await (const chunk of decompressFrames(counted(bomb(undefined), meter), "object")) {
      expect(chunk.length).toBeLessThanOrEqual(2 ** 20);
      taken += chunk.length;
      if (taken > 300 * 2 ** 20) break;
    }
    // 4 KiB of it hold 128 MiB: what was read ahead is little.
    expect(meter.bytes).toBeLessThan(200 * 4096);
  });

  it("is refused when it says it has a size that no memory holds, in one segment", async () => {
    const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0b11100000, 0, 0, 0, 0, 0, 1, 0, 0]);
    async function* source(): AsyncGenerator<Buffer, void, void> {
      yield header;
      for (;;) yield Buffer.from([0x02, 0x00, 0x10, 0x00]);
    }
    expect(await rejection(collect(decompressFrames(source(), "object")))).toBeInstanceOf(DamagedArchive);
  });

  it("is refused when its content is more than it says", async () => {
    const [header, blocks] = bomb(1_000_000n);
    const last = Buffer.from([0x03, 0x00, 0x10, 0x00]);
    const frame = Buffer.concat([header as Buffer, blocks as Buffer, last]);
    expect(await rejection(decompress(frame))).toBeInstanceOf(DamagedArchive);
  });

  it("is refused when it has no end", async () => {
    const meter = { bytes: 0 };
    const output = decompressFrames(counted(bomb(1_000_000n), meter), "object");
    expect((await rejection(collect(output))).message).toContain("is longer than its content can be");
    expect(meter.bytes).toBeLessThan(20 * 2 ** 20);
  });
});
