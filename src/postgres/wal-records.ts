/*
 * Walks the records of a WAL segment. Layout by src/include/access/{xlog_internal,xlogrecord,rmgrlist}.h, the same
 * from PostgreSQL 14 to 18, in the byte order of a little-endian server.
 */

/** A record that begins in the segment. */
export interface WalRecord {
  /** Number of its resource manager (rmgrlist.h). */
  readonly manager: number;
  /** What kind of record it is, to its manager: the upper half of the info byte. */
  readonly kind: number;
  /** Where it begins, and where it ends as PostgreSQL says it: rounded up to eight bytes. */
  readonly start: bigint;
  readonly end: bigint;
  /** Its main data, up to so many bytes: for a record without blocks. What lies in the next segment is left out. */
  mainData(limit: number): Buffer;
}

/** Resource managers. */
export const XLOG_MANAGER = 0;
export const TABLESPACE_MANAGER = 5;

/**
 * The longest that a restore point's record can be: 98 bytes, rounded up to 104, and a page's header (40 bytes at most)
 * in its middle.
 */
export const LONGEST_POINT_BYTES = 144n;

const MAGIC_HIGH_BYTE = 0xd1;
const SHORT_PAGE_HEADER = 24;
const LONG_PAGE_HEADER = 40;
const FIRST_IS_CONTINUED = 0x0001;
const HAS_LONG_HEADER = 0x0002;
const RECORD_HEADER = 24;
const INFO_OFFSET = 16;
const MANAGER_OFFSET = 17;
/** Behind the record's header: one byte that says "main data, short", and its length. */
const MAIN_DATA_OFFSET = RECORD_HEADER + 2;

/**
 * Hands over each record of one of the `managers` that begins in the segment, in order. A segment may end early,
 * after a switch or because it is only the first bytes of one; one that is none has no records.
 */
export function* recordsOf(segment: Buffer, managers: readonly number[]): Generator<WalRecord> {
  if (segment.length < LONG_PAGE_HEADER || !isLittleEndian(segment)) return;
  const pageBytes = segment.readUInt32LE(36);
  const start = segment.readBigUInt64LE(8);
  if (pageBytes < LONG_PAGE_HEADER) return;
  const pages = { segment, pageBytes };
  let at = firstRecord(pages);
  while (at + 4 <= segment.length) {
    const bytes = segment.readUInt32LE(at);
    // Zeros behind a switch of segments, or the end of what was written.
    if (bytes < RECORD_HEADER) return;
    const manager = segment[move(pages, at, MANAGER_OFFSET)] ?? -1;
    if (managers.includes(manager)) {
      const record = at;
      yield {
        manager,
        kind: (segment[move(pages, at, INFO_OFFSET)] ?? 0) & 0xf0,
        start: start + BigInt(at),
        end: start + BigInt(Math.ceil((move(pages, at, bytes - 1) + 1) / 8) * 8),
        mainData: (limit) =>
          content(pages, record, MAIN_DATA_OFFSET, Math.min(bytes - MAIN_DATA_OFFSET, limit)),
      };
    }
    at = aligned(pages, move(pages, at, bytes));
  }
}

/** Whether the segment is one of a little-endian server, whose records can be read here. */
export function isLittleEndian(segment: Buffer): boolean {
  return segment[1] === MAGIC_HIGH_BYTE;
}

interface Pages {
  readonly segment: Buffer;
  readonly pageBytes: number;
}

/** Where the first record of the segment begins: behind the rest of one that began before it. */
function firstRecord(pages: Pages): number {
  const { segment } = pages;
  const at = headerBytes(segment, 0);
  if ((segment.readUInt16LE(2) & FIRST_IS_CONTINUED) === 0) return at;
  return aligned(pages, move(pages, at, segment.readUInt32LE(16)));
}

function headerBytes(segment: Buffer, page: number): number {
  return (segment.readUInt16LE(page + 2) & HAS_LONG_HEADER) === 0 ? SHORT_PAGE_HEADER : LONG_PAGE_HEADER;
}

/** The position `bytes` of content behind `at`; page headers are no content. */
function move({ segment, pageBytes }: Pages, at: number, bytes: number): number {
  let position = at;
  let left = bytes;
  for (;;) {
    const room = pageBytes - (position % pageBytes);
    if (left < room) return position + left;
    left -= room;
    position += room;
    if (position + SHORT_PAGE_HEADER > segment.length) return segment.length;
    position += headerBytes(segment, position);
  }
}

/** Records begin at multiples of eight, and never in a page's header. */
function aligned({ segment, pageBytes }: Pages, position: number): number {
  const at = Math.ceil(position / 8) * 8;
  if (at + SHORT_PAGE_HEADER > segment.length) return segment.length;
  return at % pageBytes === 0 ? at + headerBytes(segment, at) : at;
}

function content(pages: Pages, record: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(Math.max(0, length));
  for (let index = 0; index < bytes.length; index += 1) {
    bytes[index] = pages.segment[move(pages, record, offset + index)] ?? 0;
  }
  return bytes;
}
