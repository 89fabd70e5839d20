import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { createZstdDecompress, zstdDecompress } from "node:zlib";
import { codeOf } from "../errors.ts";
import { DamagedArchive } from "./damage.ts";
import { FrameWalker } from "./frame-walker.ts";
import { FRAMES_IN_FLIGHT } from "./frames.ts";

const decompress = promisify(zstdDecompress);

/** Frames up to this content are decompressed whole and in parallel; larger ones, or of unknown size, as a stream. */
export const MAX_WHOLE_FRAME = 16 * 2 ** 20;
/** zstd never makes data longer than by this; a frame that is, could fill memory. */
const MAX_WHOLE_COMPRESSED = MAX_WHOLE_FRAME + MAX_WHOLE_FRAME / 128;
const STREAM_CHUNK = 2 ** 20;

/**
 * Decompresses a zstd file of one or more frames. Frames that say their size are decompressed on the thread pool,
 * several at a time; output is in order. Memory is bounded whatever the input claims.
 *
 * `lengths`, when known, are the compressed lengths that the frames must have.
 * @throws DamagedArchive for everything that is wrong with the bytes.
 */
export async function* decompressFrames(
  source: AsyncIterable<Uint8Array>,
  subject: string,
  lengths?: readonly number[],
): AsyncGenerator<Buffer, void, void> {
  const reader = new FrameReader(source, subject);
  const inFlight: Promise<Buffer>[] = [];
  let frames = 0;
  try {
    while (await reader.open()) {
      const { contentBytes, skippable } = reader.walker;
      if (!skippable && contentBytes !== undefined && contentBytes <= MAX_WHOLE_FRAME) {
        const compressed = await gather(reader.body(), subject);
        const work = decompressWhole(compressed, contentBytes, subject);
        work.catch(() => undefined);
        inFlight.push(work);
        if (inFlight.length >= FRAMES_IN_FLIGHT) yield await (inFlight.shift() as Promise<Buffer>);
      } else {
        while (inFlight.length > 0) yield await (inFlight.shift() as Promise<Buffer>);
        yield* decompressLarge(reader.body(), skippable, subject);
      }
      if (lengths !== undefined && lengths[frames] !== reader.length) {
        throw new DamagedArchive(
          subject,
          "altered",
          `was altered: its zstd frame ${frames + 1} has ${reader.length} bytes, ${lengths[frames] ?? "none"} were recorded when it was written.`,
        );
      }
      frames += 1;
    }
    while (inFlight.length > 0) yield await (inFlight.shift() as Promise<Buffer>);
  } finally {
    await Promise.allSettled(inFlight);
  }
  if (frames < (lengths?.length ?? 1)) {
    const what =
      frames === 0
        ? "is empty: nothing of what was written is there."
        : `is truncated: zstd frame ${frames + 1} and what follows is absent.`;
    throw new DamagedArchive(subject, "truncated", what);
  }
}

/** Cuts a stream into frames. */
class FrameReader {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #subject: string;
  #chunk: Uint8Array = new Uint8Array(0);
  #offset = 0;
  #first = true;
  #start: Uint8Array[] = [];
  walker: FrameWalker;
  /** Bytes of the current frame that were read. */
  length = 0;

  constructor(source: AsyncIterable<Uint8Array>, subject: string) {
    this.#source = source[Symbol.asyncIterator]();
    this.#subject = subject;
    this.walker = new FrameWalker(subject, true);
  }

  /** Reads the next frame's header; false at the end of the source. */
  async open(): Promise<boolean> {
    if (!(await this.#more())) return false;
    this.walker = new FrameWalker(this.#subject, this.#first);
    this.#first = false;
    this.length = 0;
    this.#start = [];
    do this.#start.push(await this.#walk());
    while (!this.walker.headerRead);
    return true;
  }

  /** The whole frame, header included. */
  async *body(): AsyncGenerator<Uint8Array, void, void> {
    yield* this.#start;
    while (!this.walker.ended) yield await this.#walk();
  }

  async #walk(): Promise<Uint8Array> {
    if (!(await this.#more())) {
      throw new DamagedArchive(this.#subject, "truncated", "is truncated: it ends inside a zstd frame.");
    }
    const from = this.#offset;
    this.#offset = this.walker.walk(this.#chunk, from);
    this.length += this.#offset - from;
    return this.#chunk.subarray(from, this.#offset);
  }

  async #more(): Promise<boolean> {
    while (this.#offset === this.#chunk.length) {
      const next = await this.#source.next();
      if (next.done === true) return false;
      this.#chunk = next.value;
      this.#offset = 0;
    }
    return true;
  }
}

async function gather(body: AsyncIterable<Uint8Array>, subject: string): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of body) {
    bytes += piece.length;
    if (bytes > MAX_WHOLE_COMPRESSED) {
      throw new DamagedArchive(
        subject,
        "altered",
        "was altered: a zstd frame is longer than its content can be.",
      );
    }
    pieces.push(piece);
  }
  return Buffer.concat(pieces, bytes);
}

/** That the content has the size that the header says is checked by zstd. */
export async function decompressWhole(
  compressed: Uint8Array,
  contentBytes: number,
  subject: string,
): Promise<Buffer> {
  try {
    return await decompress(compressed, {
      // One byte more than needed: zlib sees in the same visit to the thread pool that there is nothing left.
      chunkSize: Math.max(64, contentBytes + 1),
      maxOutputLength: Math.max(1, contentBytes),
    });
  } catch (error) {
    throw damaged(error, subject);
  }
}

async function* decompressLarge(
  body: AsyncGenerator<Uint8Array, void, void>,
  skippable: boolean,
  subject: string,
): AsyncGenerator<Buffer, void, void> {
  if (skippable) {
    for await (const _ of body);
    return;
  }
  const stream = createZstdDecompress({ chunkSize: STREAM_CHUNK });
  const done = pipeline(Readable.from(body), stream);
  done.catch(() => undefined);
  try {
    yield* stream;
    await done;
  } catch (error) {
    throw /^Z(STD)?_/.test(codeOf(error) ?? "") ? damaged(error, subject) : error;
  }
}

function damaged(cause: unknown, subject: string): DamagedArchive {
  const reason =
    codeOf(cause) === "ZSTD_error_checksum_wrong"
      ? "the checksum of a zstd frame does not match"
      : "a zstd frame cannot be decompressed";
  return new DamagedArchive(subject, "altered", `was altered: ${reason}.`);
}
