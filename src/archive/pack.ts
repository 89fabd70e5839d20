import { release } from "../release.ts";
import { sealStream } from "./age-stream.ts";
import { compressFrames, DEFAULT_FRAME_BYTES, DEFAULT_LEVEL } from "./frames.ts";
import { abortable, Meter } from "./metered.ts";

export interface PackOptions {
  /** age recipients (`age1…`) that can open the result; with none it is not sealed. */
  readonly recipients: readonly string[];
  readonly signal?: AbortSignal | undefined;
  /** Raw bytes in each frame but the last; 4 MiB unless given. */
  readonly frameBytes?: number | undefined;
  /** Compression level of zstd, 1 to 19; 3 unless given. */
  readonly level?: number | undefined;
  /** How many frames are worked on at the same time; as many as the cores can take unless given. */
  readonly inFlight?: number | undefined;
  /** Whether the SHA-256 of the raw bytes is wanted; true unless given. */
  readonly hashRaw?: boolean | undefined;
}

/** What was packed. `raw` is before compression; `stored` is what the stream gave, which is what lies in the store. */
export interface PackResult {
  readonly rawBytes: number;
  /** SHA-256 in hex; empty when `hashRaw` was false. */
  readonly rawSha256: string;
  readonly storedBytes: number;
  /** SHA-256 in hex. */
  readonly storedSha256: string;
  /** Raw bytes in each frame but the last. */
  readonly frameBytes: number;
  /** Compressed length of each frame in order, before sealing. */
  readonly frames: number[];
  readonly sealed: boolean;
}

export interface Packed {
  /** The packed bytes; it can be read once. Throws what the source throws, UserError and AbortedError. */
  readonly stream: AsyncIterable<Buffer>;
  /** Valid after the stream's end. */
  result(): PackResult;
}

/** How the name of a packed object ends. */
export function packedSuffix(recipients: readonly string[]): ".zst" | ".zst.age" {
  return recipients.length > 0 ? ".zst.age" : ".zst";
}

/**
 * Packs a stream: cut into frames, each compressed with zstd on the thread pool, sealed with age when there are
 * recipients. `age -d | zstd -d` opens the result. Memory is bounded whatever the source's size.
 */
export function pack(source: AsyncIterable<Uint8Array>, options: PackOptions): Packed {
  let result: PackResult | undefined;

  async function* run(): AsyncGenerator<Buffer, void, void> {
    const {
      recipients,
      signal,
      hashRaw = true,
      frameBytes = DEFAULT_FRAME_BYTES,
      level = DEFAULT_LEVEL,
      inFlight,
    } = options;
    const raw = new Meter();
    const stored = new Meter();
    const frames: number[] = [];
    let rawBytes = 0;
    const compressed = compressFrames(abortable(source, signal), {
      frameBytes,
      level,
      inFlight,
      onRaw(frame) {
        rawBytes += frame.length;
        if (hashRaw) raw.add(frame);
      },
    });
    const sealed = recipients.length > 0;
    const measured = recordLengths(compressed, frames, sealed);
    for await (const piece of sealed ? sealStream(measured, recipients) : measured) {
      stored.add(piece);
      yield piece;
    }
    result = {
      rawBytes,
      rawSha256: hashRaw ? raw.sha256() : "",
      storedBytes: stored.bytes,
      storedSha256: stored.sha256(),
      frameBytes,
      frames,
      sealed,
    };
  }

  return {
    stream: run(),
    result() {
      if (result === undefined) throw new Error("pack: result() was called before the stream ended");
      return result;
    },
  };
}

/** `last`: who reads the frames is done with one when it asks for the next. */
async function* recordLengths(
  frames: AsyncIterable<Buffer>,
  lengths: number[],
  last: boolean,
): AsyncGenerator<Buffer, void, void> {
  for await (const frame of frames) {
    lengths.push(frame.length);
    yield frame;
    if (last) release(frame);
  }
}
