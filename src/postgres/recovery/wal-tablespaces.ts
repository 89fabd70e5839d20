/*
 * Looks for CREATE TABLESPACE in a WAL segment. Replaying one makes the server write to the very folder that the source
 * used (tblspc_redo in src/backend/commands/tablespace.c): on the source's own machine that is production's data.
 * Layout by src/include/access/{xlog_internal,xlogrecord,rmgrlist}.h, the same from PostgreSQL 14 to 18.
 */

const SHORT_PAGE_HEADER = 24;
const LONG_PAGE_HEADER = 40;
const FIRST_IS_CONTINUED = 0x0001;
const HAS_LONG_HEADER = 0x0002;
const RECORD_HEADER = 24;
const INFO_OFFSET = 16;
const MANAGER_OFFSET = 17;
const TABLESPACE_MANAGER = 5;
const CREATE = 0x00;
/** Behind the record's header: one byte that says "main data, short", its length, and the tablespace's oid. */
const PATH_OFFSET = RECORD_HEADER + 2 + 4;
const MAX_PATH = 1024;

/**
 * Folders of the tablespaces that the segment creates, in records that begin at `from` or later. A record that begins in the
 * segment before is not seen here, but there.
 */
export function createdTablespaces(segment: Buffer, from: bigint): string[] {
  const pageBytes = segment.readUInt32LE(36);
  const start = segment.readBigUInt64LE(8);
  if (pageBytes < LONG_PAGE_HEADER || segment.length % pageBytes !== 0) return [];
  const found: string[] = [];
  let at = firstRecord(segment, pageBytes);
  while (at + 4 <= segment.length) {
    const bytes = segment.readUInt32LE(at);
    // Zeros behind a switch of segments, or the end of what was written.
    if (bytes < RECORD_HEADER) break;
    if (start + BigInt(at) >= from && isCreation(segment, pageBytes, at)) {
      const path = textAt(segment, pageBytes, at, Math.min(bytes - PATH_OFFSET, MAX_PATH));
      if (path !== "") found.push(path);
    }
    at = aligned(move(segment, pageBytes, at, bytes), pageBytes, segment);
  }
  return found;
}

/** Where the first record of the segment begins: behind the rest of one that began before it. */
function firstRecord(segment: Buffer, pageBytes: number): number {
  const at = headerBytes(segment, 0);
  if ((segment.readUInt16LE(2) & FIRST_IS_CONTINUED) === 0) return at;
  return aligned(move(segment, pageBytes, at, segment.readUInt32LE(16)), pageBytes, segment);
}

function headerBytes(segment: Buffer, page: number): number {
  return (segment.readUInt16LE(page + 2) & HAS_LONG_HEADER) === 0 ? SHORT_PAGE_HEADER : LONG_PAGE_HEADER;
}

/** The position `bytes` of content behind `at`; page headers are no content. */
function move(segment: Buffer, pageBytes: number, at: number, bytes: number): number {
  let position = at;
  let left = bytes;
  for (;;) {
    const room = pageBytes - (position % pageBytes);
    if (left < room) return position + left;
    left -= room;
    position += room;
    if (position >= segment.length) return segment.length;
    position += headerBytes(segment, position);
  }
}

/** Records begin at multiples of eight, and never in a page's header. */
function aligned(position: number, pageBytes: number, segment: Buffer): number {
  const at = Math.ceil(position / 8) * 8;
  if (at >= segment.length) return segment.length;
  return at % pageBytes === 0 ? at + headerBytes(segment, at) : at;
}

function isCreation(segment: Buffer, pageBytes: number, at: number): boolean {
  const manager = segment[move(segment, pageBytes, at, MANAGER_OFFSET)];
  const info = segment[move(segment, pageBytes, at, INFO_OFFSET)] ?? 0xff;
  return manager === TABLESPACE_MANAGER && (info & 0xf0) === CREATE;
}

/** Text up to its NUL; what lies in the next segment is left out. */
function textAt(segment: Buffer, pageBytes: number, record: number, length: number): string {
  const bytes: number[] = [];
  for (let index = 0; index < length; index += 1) {
    const byte = segment[move(segment, pageBytes, record, PATH_OFFSET + index)] ?? 0;
    if (byte === 0) break;
    bytes.push(byte);
  }
  return Buffer.from(bytes).toString("utf8");
}
