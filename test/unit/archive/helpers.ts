import { createHash } from "node:crypto";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { type PackOptions, type PackResult, pack } from "../../../src/archive/pack.ts";

/** Random numbers in [0, 1) that are the same in every run (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Bytes of which about half can be compressed. */
export function mixedBytes(size: number, random: () => number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; at += 64) {
    if (random() < 0.5) bytes.fill("orders,paid;", at, Math.min(size, at + 64));
    else for (let index = at; index < Math.min(size, at + 64); index += 1) bytes[index] = random() * 256;
  }
  return bytes;
}

/** The same bytes in chunks of random size, some of them empty. */
export async function* inChunks(
  bytes: Buffer,
  random: () => number,
  largest: number,
): AsyncGenerator<Buffer, void, void> {
  let at = 0;
  while (at < bytes.length) {
    const end = Math.min(bytes.length, at + Math.floor(random() * (largest + 1)));
    yield bytes.subarray(at, end);
    at = end;
  }
}

export async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes;
}

export async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export interface PackedBytes {
  readonly bytes: Buffer;
  readonly result: PackResult;
}

export async function packBytes(raw: Uint8Array, options: PackOptions): Promise<PackedBytes> {
  const packed = pack(once(raw), options);
  const bytes = await collect(packed.stream);
  return { bytes, result: packed.result() };
}

export async function newKeys(): Promise<{ identity: string; recipient: string }> {
  const identity = await generateX25519Identity();
  return { identity, recipient: await identityToRecipient(identity) };
}

/** What a promise is rejected with; fails the test when it is not. */
export async function rejection(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
  throw new Error("expected an error, but there was none");
}
