import { createHash } from "node:crypto";

/** A stream of `bytes` pseudo-random bytes that is the same each time, in chunks of `chunk`; little memory. */
export async function* noise(bytes: number, chunk = 2 ** 20): AsyncGenerator<Buffer> {
  const pattern = noiseBuffer(chunk + 251);
  let at = 0;
  while (at < bytes) {
    const length = Math.min(chunk, bytes - at);
    const start = (at / chunk) % 251;
    yield pattern.subarray(start, start + length);
    at += length;
  }
}

function noiseBuffer(bytes: number): Buffer {
  const buffer = Buffer.allocUnsafe(bytes);
  let state = 0x9e3779b9;
  for (let at = 0; at < bytes; at += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    buffer[at] = state >>> 24;
  }
  return buffer;
}

/** Length and SHA-256 of a stream. */
export async function digest(
  source: AsyncIterable<Uint8Array>,
): Promise<{ readonly bytes: number; readonly sha256: string }> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of source) {
    hash.update(chunk);
    bytes += chunk.byteLength;
  }
  return { bytes, sha256: hash.digest("hex") };
}

/** One chunk as a stream. */
export async function* once(content: string | Uint8Array): AsyncGenerator<Uint8Array> {
  yield typeof content === "string" ? Buffer.from(content) : content;
}
