import {
  type CipherKey,
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import { release } from "../release.ts";
import { createHeader, findHeader, openHeader } from "./age.ts";
import { DamagedArchive } from "./damage.ts";
import { ONE_LOOK, type SecondLook } from "./second-look.ts";

/*
 * The payload of an age v1 file (https://age-encryption.org/v1): chunks of 64 KiB, each sealed with ChaCha20-Poly1305. The
 * nonce is an 11-byte counter and a byte that is 1 for the last chunk alone, so chunks can be neither moved, dropped nor
 * added unnoticed. Only an empty payload has an empty last chunk.
 *
 * By node:crypto and not by the `age-encryption` package, which does the same in JavaScript. Measured on one machine
 * with 256 MiB: sealing 1090 MB/s against 129, opening 1470 MB/s against 136.
 */

const CHUNK = 64 * 1024;
const TAG = 16;
const SEALED_CHUNK = CHUNK + TAG;
const NONCE = 16;
const NOTHING = Buffer.alloc(0);

function payloadKey(fileKey: Uint8Array, nonce: Uint8Array): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync("sha256", fileKey, nonce, "payload", 32)));
}

function chunkNonce(counter: number, last: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  // 48 of the counter's 88 bits: enough for 16 EiB.
  nonce.writeUIntBE(counter, 5, 6);
  nonce[11] = last ? 1 : 0;
  return nonce;
}

/**
 * Seals a stream for the recipients: yields the bytes of an age v1 file.
 * @throws UserError when a recipient is malformed.
 */
export async function* sealStream(
  source: AsyncIterable<Uint8Array>,
  recipients: readonly string[],
): AsyncGenerator<Buffer, void, void> {
  const { header, fileKey } = await createHeader(recipients);
  const nonce = randomBytes(NONCE);
  const key = payloadKey(fileKey, nonce);
  // Given out when the source has given something, so that who leaves early always leaves a source that is closed.
  let start: Buffer | undefined = Buffer.concat([header, nonce]);

  // A chunk is sealed when a byte after it is seen: only then it is known that it is not the last.
  const kept = Buffer.allocUnsafeSlow(CHUNK);
  let keptBytes = 0;
  let counter = 0;
  for await (const piece of source) {
    if (start !== undefined) yield start;
    start = undefined;
    const total = keptBytes + piece.length;
    const chunks = Math.max(0, Math.ceil(total / CHUNK) - 1);
    const sealed = Buffer.allocUnsafeSlow(chunks * SEALED_CHUNK);
    let offset = 0;
    for (let index = 0; index < chunks; index += 1) {
      const at = index * SEALED_CHUNK;
      if (keptBytes > 0) {
        const missing = CHUNK - keptBytes;
        kept.set(piece.subarray(offset, offset + missing), keptBytes);
        sealChunk(key, chunkNonce(counter, false), kept, sealed, at);
        offset += missing;
        keptBytes = 0;
      } else {
        sealChunk(key, chunkNonce(counter, false), piece.subarray(offset, offset + CHUNK), sealed, at);
        offset += CHUNK;
      }
      counter += 1;
    }
    kept.set(piece.subarray(offset), keptBytes);
    keptBytes += piece.length - offset;
    if (sealed.length > 0) yield sealed;
  }
  if (start !== undefined) yield start;
  const last = Buffer.allocUnsafeSlow(keptBytes + TAG);
  sealChunk(key, chunkNonce(counter, true), kept.subarray(0, keptBytes), last, 0);
  yield last;
}

function sealChunk(key: CipherKey, nonce: Buffer, plain: Uint8Array, target: Buffer, at: number): void {
  const cipher = createCipheriv("chacha20-poly1305", key, nonce, { authTagLength: TAG });
  const text = cipher.update(plain);
  target.set(text, at);
  release(text);
  cipher.final();
  target.set(cipher.getAuthTag(), at + plain.length);
}

/**
 * Opens an age v1 file with an identity; every byte it yields is authentic, and it ends without an error only if the
 * whole payload was there.
 * @throws UserError when the identity is malformed, DamagedArchive for everything that is wrong with the bytes.
 */
export async function* openStream(
  source: AsyncIterable<Uint8Array>,
  identity: string,
  subject: string,
  look: SecondLook = ONE_LOOK,
): AsyncGenerator<Buffer, void, void> {
  let start: Buffer = NOTHING;
  let opener: ChunkOpener | undefined;
  for await (const piece of source) {
    if (opener !== undefined) {
      yield* opener.push(piece);
      continue;
    }
    start = Buffer.concat([start, piece]);
    const found = await look.settle(0, start, (bytes) => readStart(bytes, identity, subject));
    if (found === undefined) continue;
    opener = new ChunkOpener(found, subject, look);
    yield* opener.push(start.subarray(found.headerBytes + NONCE));
    start = NOTHING;
  }
  if (opener === undefined) {
    throw new DamagedArchive(
      subject,
      "truncated",
      start.length === 0
        ? "is empty: nothing of what was written is there."
        : "is truncated: it ends inside its age header.",
    );
  }
  yield await opener.end();
}

/** What stands before the payload. */
interface Start {
  readonly headerBytes: number;
  readonly fileKey: Uint8Array;
  readonly nonce: Buffer;
}

/** Undefined when it is not complete yet. */
async function readStart(bytes: Uint8Array, identity: string, subject: string): Promise<Start | undefined> {
  const start = Buffer.from(bytes);
  const headerBytes = findHeader(start, subject);
  if (headerBytes === undefined || start.length < headerBytes + NONCE) return undefined;
  const fileKey = await openHeader(start.subarray(0, headerBytes), identity, subject);
  return { headerBytes, fileKey, nonce: start.subarray(headerBytes, headerBytes + NONCE) };
}

/** Opens chunk after chunk. Keeps the newest whole chunk back until it is known whether it is the last. */
class ChunkOpener {
  readonly #start: Start;
  readonly #look: SecondLook;
  readonly #subject: string;
  #key: KeyObject;
  readonly #kept = Buffer.allocUnsafeSlow(SEALED_CHUNK);
  #keptBytes = 0;
  #counter = 0;

  constructor(start: Start, subject: string, look: SecondLook) {
    this.#start = start;
    this.#look = look;
    this.#key = payloadKey(start.fileKey, start.nonce);
    this.#subject = subject;
  }

  async *push(piece: Uint8Array): AsyncGenerator<Buffer, void, void> {
    let offset = 0;
    while (this.#keptBytes + piece.length - offset > SEALED_CHUNK) {
      let sealed = piece.subarray(offset, offset + SEALED_CHUNK);
      if (this.#keptBytes > 0) {
        const missing = SEALED_CHUNK - this.#keptBytes;
        this.#kept.set(piece.subarray(offset, offset + missing), this.#keptBytes);
        offset += missing;
        this.#keptBytes = 0;
        sealed = this.#kept;
      } else {
        offset += SEALED_CHUNK;
      }
      const plain = this.#open(sealed, false) ?? (await this.#openAgain(sealed, false));
      this.#counter += 1;
      this.#look.proven(this.#offset());
      yield plain;
    }
    this.#kept.set(piece.subarray(offset), this.#keptBytes);
    this.#keptBytes += piece.length - offset;
  }

  async end(): Promise<Buffer> {
    const sealed = this.#kept.subarray(0, this.#keptBytes);
    const plain =
      (sealed.length < TAG ? undefined : this.#open(sealed, true)) ?? (await this.#openAgain(sealed, true));
    if (plain.length === 0 && this.#counter > 0) {
      throw new DamagedArchive(
        this.#subject,
        "altered",
        "is not a valid age file: its last chunk is empty, which only an empty file may have.",
      );
    }
    return plain;
  }

  /** Where the chunk begins in the file. */
  #offset(): number {
    return this.#start.headerBytes + NONCE + this.#counter * SEALED_CHUNK;
  }

  /** A second look at a chunk that is not authentic; with the first, at the nonce before it, which nothing else proves. */
  async #openAgain(sealed: Uint8Array, last: boolean): Promise<Buffer> {
    const nonce = this.#counter === 0 ? this.#start.nonce : NOTHING;
    const bytes = Buffer.concat([nonce, sealed]);
    return await this.#look.settle(this.#offset() - nonce.length, bytes, (again) => {
      if (nonce.length > 0) this.#key = payloadKey(this.#start.fileKey, again.subarray(0, NONCE));
      const chunk = again.subarray(nonce.length);
      const plain = chunk.length < TAG ? undefined : this.#open(chunk, last);
      if (plain !== undefined) return plain;
      throw last ? this.#badEnd(chunk) : this.#unauthentic(chunk);
    });
  }

  /** The chunk's content, or undefined when it is not authentic at this place. */
  #open(sealed: Uint8Array, last: boolean): Buffer | undefined {
    const nonce = chunkNonce(this.#counter, last);
    const decipher = createDecipheriv("chacha20-poly1305", this.#key, nonce, { authTagLength: TAG });
    const length = sealed.length - TAG;
    decipher.setAuthTag(sealed.subarray(length));
    const plain = decipher.update(sealed.subarray(0, length));
    try {
      decipher.final();
    } catch {
      return undefined;
    }
    return plain;
  }

  #unauthentic(sealed: Uint8Array): DamagedArchive {
    if (this.#open(sealed, true) !== undefined) {
      return new DamagedArchive(
        this.#subject,
        "altered",
        "was altered: there are bytes after the end of its age payload.",
      );
    }
    return new DamagedArchive(this.#subject, "altered", `was altered: ${this.#where()} is not authentic.`);
  }

  #badEnd(sealed: Uint8Array): DamagedArchive {
    const boundary = sealed.length === SEALED_CHUNK && this.#open(sealed, false) !== undefined;
    if (boundary || sealed.length < TAG) {
      return new DamagedArchive(
        this.#subject,
        "truncated",
        "is truncated: the last chunk of its age payload is absent.",
      );
    }
    return new DamagedArchive(
      this.#subject,
      "altered",
      `is truncated or was altered: ${this.#where()}, the last one, is not authentic.`,
    );
  }

  #where(): string {
    return `chunk ${this.#counter + 1} of its age payload`;
  }
}
