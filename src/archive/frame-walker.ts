import { DamagedArchive } from "./damage.ts";

/*
 * Where a zstd frame ends, without decompressing it (RFC 8878, section 3.1.1 and 3.1.2); whether its content is right is for
 * zstd to say. Node's own decompressors cannot be
 * asked: given several frames they silently stop after the first one or refuse the second, depending on how the input
 * is cut into chunks (seen with Node 24.21).
 */

const FRAME_MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4];
const CONTENT_SIZE_BYTES = [0, 2, 4, 8];
const RLE_BLOCK = 1;

type Field = "magic" | "skippable-size" | "descriptor" | "header" | "block" | "checksum" | "end";

/** Walks over the bytes of one frame, in pieces of any size. */
export class FrameWalker {
  readonly #subject: string;
  readonly #first: boolean;
  readonly #bytes = Buffer.alloc(14);
  #field: Field = "magic";
  /** How many bytes of the field are there, and how many it has. */
  #have = 0;
  #want = 4;
  /** Bytes of content to pass over before the field. */
  #pass = 0;
  #descriptor = 0;
  #skippable = false;
  #headerRead = false;
  #contentBytes: number | undefined;

  /** `first`: whether it is the first frame of its file. */
  constructor(subject: string, first: boolean) {
    this.#subject = subject;
    this.#first = first;
  }

  /** Whether the frame is complete. */
  get ended(): boolean {
    return this.#field === "end" && this.#pass === 0;
  }

  /** Whether its header has been read. */
  get headerRead(): boolean {
    return this.#headerRead;
  }

  /** Whether it is a frame that holds no data. */
  get skippable(): boolean {
    return this.#skippable;
  }

  /** Size of its content after decompression, when its header says so. */
  get contentBytes(): number | undefined {
    return this.#contentBytes;
  }

  /**
   * Walks on from `offset`; returns the offset after the last byte that belongs to this frame.
   * @throws DamagedArchive when the bytes are not a zstd frame.
   */
  walk(chunk: Uint8Array, offset: number): number {
    let at = offset;
    while (!this.ended) {
      const passed = Math.min(this.#pass, chunk.length - at);
      this.#pass -= passed;
      at += passed;
      if (this.#pass > 0 || this.#field === "end") break;
      while (this.#have < this.#want && at < chunk.length) {
        this.#bytes[this.#have] = chunk[at] as number;
        this.#have += 1;
        at += 1;
      }
      if (this.#have < this.#want) break;
      this.#read();
    }
    return at;
  }

  #expect(field: Field, bytes: number): void {
    this.#field = field;
    this.#have = 0;
    this.#want = bytes;
  }

  #read(): void {
    switch (this.#field) {
      case "magic":
        this.#readMagic();
        break;
      case "skippable-size":
        this.#pass = this.#bytes.readUInt32LE(0);
        this.#headerRead = true;
        this.#expect("end", 0);
        break;
      case "descriptor":
        this.#readDescriptor();
        break;
      case "header":
        this.#readHeader();
        break;
      case "block":
        this.#readBlock();
        break;
      default:
        this.#expect("end", 0);
    }
  }

  #readMagic(): void {
    const magic = this.#bytes.readUInt32LE(0);
    this.#skippable = (magic & 0xfffffff0) === SKIPPABLE_MAGIC;
    if (this.#skippable) {
      this.#expect("skippable-size", 4);
    } else if (magic === FRAME_MAGIC) {
      this.#expect("descriptor", 1);
    } else if (this.#first) {
      throw new DamagedArchive(
        this.#subject,
        "foreign",
        "is not a zstd archive: it does not start with a zstd frame.",
      );
    } else {
      throw new DamagedArchive(
        this.#subject,
        "altered",
        "was altered: there is something else where a zstd frame should start.",
      );
    }
  }

  #readDescriptor(): void {
    this.#descriptor = this.#bytes.readUInt8(0);
    const windowBytes = this.#singleSegment() ? 0 : 1;
    this.#expect("header", windowBytes + this.#dictionaryIdBytes() + this.#contentSizeBytes());
  }

  #readHeader(): void {
    const at = (this.#singleSegment() ? 0 : 1) + this.#dictionaryIdBytes();
    const bytes = this.#contentSizeBytes();
    if (bytes === 1) this.#contentBytes = this.#bytes.readUInt8(at);
    if (bytes === 2) this.#contentBytes = this.#bytes.readUInt16LE(at) + 256;
    if (bytes === 4) this.#contentBytes = this.#bytes.readUInt32LE(at);
    if (bytes === 8) this.#contentBytes = Number(this.#bytes.readBigUInt64LE(at));
    this.#headerRead = true;
    this.#expect("block", 3);
  }

  #readBlock(): void {
    const header = this.#bytes.readUIntLE(0, 3);
    const type = (header >> 1) & 3;
    this.#pass = type === RLE_BLOCK ? 1 : header >> 3;
    if ((header & 1) === 0) this.#expect("block", 3);
    else if ((this.#descriptor & 0b100) !== 0) this.#expect("checksum", 4);
    else this.#expect("end", 0);
  }

  #singleSegment(): boolean {
    return (this.#descriptor & 0b100000) !== 0;
  }

  #dictionaryIdBytes(): number {
    return DICTIONARY_ID_BYTES[this.#descriptor & 3] as number;
  }

  #contentSizeBytes(): number {
    const flag = this.#descriptor >> 6;
    return flag === 0 && this.#singleSegment() ? 1 : (CONTENT_SIZE_BYTES[flag] as number);
  }
}
