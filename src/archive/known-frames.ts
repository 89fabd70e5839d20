import { DamagedArchive } from "./damage.ts";
import { FrameWalker } from "./frame-walker.ts";
import { FRAMES_IN_FLIGHT } from "./frames.ts";
import type { SecondLook } from "./second-look.ts";
import { decompressWhole, MAX_WHOLE_FRAME } from "./unframe.ts";

/**
 * Decompresses a zstd file whose frames have these lengths, several at a time and in order, with a second look at each that
 * seems damaged.
 * @throws DamagedArchive for everything that is wrong with the bytes.
 */
export async function* decompressKnown(
  source: AsyncIterable<Uint8Array>,
  subject: string,
  lengths: readonly number[],
  look: SecondLook,
): AsyncGenerator<Buffer, void, void> {
  const take = cutter(source);
  const inFlight: Promise<{ readonly plain: Buffer; readonly end: number }>[] = [];
  let offset = 0;

  async function* finish(most: number): AsyncGenerator<Buffer, void, void> {
    while (inFlight.length > most) {
      const { plain, end } = await (inFlight.shift() as (typeof inFlight)[number]);
      look.proven(end);
      yield plain;
    }
  }

  try {
    for (const [index, length] of lengths.entries()) {
      const at = offset;
      const compressed = await take(length);
      if (compressed.length < length) {
        const what = `is truncated: zstd frame ${index + 1} and what follows is absent.`;
        throw new DamagedArchive(subject, "truncated", what);
      }
      offset += length;
      const work = look
        .settle(at, compressed, (bytes) => openFrame(bytes, index, subject))
        .then((plain) => ({ plain, end: at + length }));
      work.catch(() => undefined);
      inFlight.push(work);
      yield* finish(FRAMES_IN_FLIGHT - 1);
    }
    yield* finish(0);
    if ((await take(1)).length > 0) {
      throw new DamagedArchive(subject, "altered", "was altered: there are bytes after its last zstd frame.");
    }
  } finally {
    await Promise.allSettled(inFlight);
  }
}

/** One frame, which must fill its bytes. */
async function openFrame(compressed: Uint8Array, index: number, subject: string): Promise<Buffer> {
  const walker = new FrameWalker(subject, index === 0);
  const end = walker.walk(compressed, 0);
  const { contentBytes } = walker;
  if (!walker.ended || end !== compressed.length || contentBytes === undefined) {
    throw new DamagedArchive(
      subject,
      "altered",
      `was altered: its zstd frame ${index + 1} has not the ${compressed.length} bytes that were recorded when it was written.`,
    );
  }
  if (contentBytes > MAX_WHOLE_FRAME) {
    const what = `was altered: its zstd frame ${index + 1} is larger than any that is written.`;
    throw new DamagedArchive(subject, "altered", what);
  }
  return await decompressWhole(compressed, contentBytes, subject);
}

/** Cuts a stream into pieces of the lengths that are asked for; shorter ones at its end. */
function cutter(source: AsyncIterable<Uint8Array>): (length: number) => Promise<Buffer> {
  const iterator = source[Symbol.asyncIterator]();
  let rest: Uint8Array = new Uint8Array();
  return async (length) => {
    const piece = Buffer.allocUnsafeSlow(length);
    let filled = 0;
    while (filled < length) {
      if (rest.length === 0) {
        const next = await iterator.next();
        if (next.done === true) break;
        rest = next.value;
        continue;
      }
      const part = rest.subarray(0, length - filled);
      piece.set(part, filled);
      filled += part.length;
      rest = rest.subarray(part.length);
    }
    return piece.subarray(0, filled);
  };
}
