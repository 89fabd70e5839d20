import { AbortedError, UserError } from "../errors.ts";
import { openStream } from "./age-stream.ts";
import { DamagedArchive } from "./damage.ts";
import { abortable, Meter } from "./metered.ts";
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
  const intake = new Intake(abortable(source, signal));
  try {
    const opened = sealed ? openStream(intake, identity ?? "", subject) : intake;
    yield* decompressFrames(opened, subject, frames?.length === 0 ? undefined : frames);
    const difference = compare(intake, options);
    if (difference !== undefined) throw difference;
  } catch (error) {
    if (!(error instanceof DamagedArchive)) throw error;
    await intake.drain(error.kind === "wrong-key" ? WRONG_KEY_DRAIN : Number.POSITIVE_INFINITY);
    throw compare(intake, options) ?? error;
  } finally {
    await intake.close();
  }
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

/** The stored bytes on their way in: measured, and still readable after whoever reads them gave up. */
class Intake implements AsyncIterable<Uint8Array> {
  readonly meter = new Meter();
  readonly #source: AsyncIterator<Uint8Array, void, void>;
  ended = false;

  constructor(source: AsyncGenerator<Uint8Array, void, void>) {
    this.#source = source;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array, void, void> {
    // No `return`: leaving the loop does not close the source.
    return { next: () => this.#next() };
  }

  async #next(): Promise<IteratorResult<Uint8Array, void>> {
    const next = await this.#source.next();
    if (next.done === true) this.ended = true;
    else this.meter.add(next.value);
    return next;
  }

  /** Reads on for the digest's sake, at most so many bytes; a source that fails now changes nothing. */
  async drain(limit: number): Promise<void> {
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
