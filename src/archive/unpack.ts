import { AbortedError, UserError } from "../errors.ts";
import { openStream } from "./age-stream.ts";
import { DamagedArchive } from "./damage.ts";
import { decompressKnown } from "./known-frames.ts";
import { abortable, Meter } from "./metered.ts";
import { ONE_LOOK, type Reread, readSettled, secondLook } from "./second-look.ts";
import { decompressFrames } from "./unframe.ts";

export interface UnpackOptions {
  /** The object's name for messages, as `Store.describe` gives it. */
  readonly subject: string;
  /** Whether it is sealed with age. */
  readonly sealed: boolean;
  /** age identities, as in an identity file; only needed when it is sealed. */
  readonly identity?: string | undefined;
  /** Compressed length of each frame, when known. */
  readonly frames?: readonly number[] | undefined;
  /** SHA-256 in hex and size of the object as it was written, when known. */
  readonly storedSha256?: string | undefined;
  readonly storedBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /**
   * Fetches bytes of the object again, at any offset below `storedBytes`. With it, bytes that seem damaged are read a second
   * time where `frames` or age cut the object into pieces, so that it is not called damaged for a fault on the way.
   */
  readonly reread?: Reread | undefined;
}

/**
 * With another key nothing can be opened: so much is still read to tell that from an altered header by the digest.
 * A larger object is not fetched to its end for that.
 */
const WRONG_KEY_DRAIN = 64 * 2 ** 20;

/**
 * The raw bytes of what {@link import("./pack.ts").pack} or `zstd | age` made, in order. Frames are decompressed in
 * parallel; memory is bounded. Digest and length are only known at the end: what was read is proven when the
 * iteration has ended without an error, not before.
 * @throws DamagedArchive (a DefectError) naming the subject for everything that is wrong with the bytes; UserError
 * when it is sealed and there is no usable identity; AbortedError; and what the source throws.
 */
export async function* unpack(
  source: AsyncIterable<Uint8Array>,
  options: UnpackOptions,
): AsyncGenerator<Buffer, void, void> {
  const { subject, sealed, identity, frames, signal } = options;
  if (sealed && (identity === undefined || identity.trim() === "")) {
    throw new UserError(
      `${subject} is sealed with age: give the private key (AGE-SECRET-KEY-1…) as encryption.identity of its store.`,
    );
  }
  const known = frames?.length === 0 ? undefined : frames;
  const { reread } = options;
  const inPieces = reread !== undefined && (sealed || known !== undefined);
  const intake = new Intake(abortable(source, signal), inPieces);
  const look = inPieces
    ? secondLook(
        subject,
        reread,
        (end) => intake.proven(end),
        (offset, bytes) => intake.mend(offset, bytes),
      )
    : ONE_LOOK;
  try {
    if (inPieces && !sealed) yield* decompressKnown(intake, subject, known ?? [], look);
    else {
      const opened = sealed ? openStream(intake, identity ?? "", subject, look) : intake;
      yield* decompressFrames(opened, subject, known);
    }
    intake.settle();
    const difference = compare(intake, options);
    // Some bits mean nothing to those who open the pieces.
    if (difference !== undefined && !(await isWholeAfterAll(difference, options))) throw difference;
  } catch (error) {
    if (!(error instanceof DamagedArchive)) throw error;
    await intake.drain(error.kind === "wrong-key" ? WRONG_KEY_DRAIN : Number.POSITIVE_INFINITY);
    throw compare(intake, options) ?? error;
  } finally {
    await intake.close();
  }
}

const REREAD_BYTES = 8 * 2 ** 20;

/** Whether another reading of the whole object gives its digest. */
async function isWholeAfterAll(difference: DamagedArchive, options: UnpackOptions): Promise<boolean> {
  const { subject, storedBytes = 0, storedSha256, reread, signal } = options;
  if (difference.kind === "truncated" || reread === undefined || storedSha256 === undefined) return false;
  return await readSettled(subject, async (tap) => {
    const meter = new Meter();
    async function* whole(read: Reread): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < storedBytes; at += REREAD_BYTES) {
        yield await read(at, Math.min(REREAD_BYTES, storedBytes - at));
      }
    }
    for await (const chunk of abortable(tap(whole(reread)), signal)) meter.add(chunk);
    if (meter.sha256() !== storedSha256.toLowerCase()) throw difference;
    return true;
  });
}

/** How the stored bytes differ from what was recorded when they were written. */
function compare(intake: Intake, options: UnpackOptions): DamagedArchive | undefined {
  const { subject, storedBytes, storedSha256 } = options;
  if (!intake.ended) return undefined;
  const { bytes } = intake.meter;
  if (storedBytes !== undefined && bytes < storedBytes) {
    return new DamagedArchive(
      subject,
      "truncated",
      `is truncated: ${bytes} of the ${storedBytes} bytes that were written are there.`,
    );
  }
  if (storedBytes !== undefined && bytes > storedBytes) {
    return new DamagedArchive(
      subject,
      "altered",
      `was altered: it has ${bytes} bytes, but ${storedBytes} were written.`,
    );
  }
  if (storedSha256 !== undefined && intake.meter.sha256() !== storedSha256.toLowerCase()) {
    return new DamagedArchive(
      subject,
      "altered",
      `was altered: its SHA-256 is not the one recorded when it was written (${storedSha256}).`,
    );
  }
  return undefined;
}

/**
 * The stored bytes on their way in: measured, and still readable after whoever reads them gave up. With `lagging`, they are
 * measured when they are proven, so that they can be mended until then.
 */
class Intake implements AsyncIterable<Uint8Array> {
  readonly meter = new Meter();
  readonly #source: AsyncIterator<Uint8Array, void, void>;
  readonly #unproven: Uint8Array[] = [];
  #lagging: boolean;
  ended = false;

  constructor(source: AsyncGenerator<Uint8Array, void, void>, lagging: boolean) {
    this.#source = source;
    this.#lagging = lagging;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array, void, void> {
    // No `return`: leaving the loop does not close the source.
    return { next: () => this.#next() };
  }

  async #next(): Promise<IteratorResult<Uint8Array, void>> {
    const next = await this.#source.next();
    if (next.done === true) this.ended = true;
    else if (this.#lagging) this.#unproven.push(next.value);
    else this.meter.add(next.value);
    return next;
  }

  proven(end: number): void {
    for (let left = end - this.meter.bytes; left > 0; ) {
      const chunk = this.#unproven.shift();
      if (chunk === undefined) return;
      const piece = chunk.subarray(0, left);
      this.meter.add(piece);
      left -= piece.length;
      if (piece.length < chunk.length) this.#unproven.unshift(chunk.subarray(piece.length));
    }
  }

  /** Puts the right bytes in the place of those that arrived wrong. */
  mend(offset: number, bytes: Uint8Array): void {
    let at = this.meter.bytes;
    for (const chunk of this.#unproven) {
      const from = Math.max(at, offset);
      const to = Math.min(at + chunk.length, offset + bytes.length);
      if (from < to) chunk.set(bytes.subarray(from - offset, to - offset), from - at);
      at += chunk.length;
    }
  }

  /** Measures everything that arrived, proven or not. */
  settle(): void {
    this.#lagging = false;
    this.proven(Number.POSITIVE_INFINITY);
  }

  /** Reads on for the digest's sake, at most so many bytes; a source that fails now changes nothing. */
  async drain(limit: number): Promise<void> {
    this.settle();
    const start = this.meter.bytes;
    try {
      while (!this.ended && this.meter.bytes - start <= limit) await this.#next();
    } catch (error) {
      if (error instanceof AbortedError) throw error;
    }
  }

  async close(): Promise<void> {
    await this.#source.return?.();
  }
}
