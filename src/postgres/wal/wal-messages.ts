import { lsn } from "../../catalog/lsn.ts";

/** Messages within START_REPLICATION's copied data (manual: "Streaming Replication Protocol"). */
export type WalMessage =
  | { readonly kind: "data"; readonly start: bigint; readonly data: Buffer }
  | { readonly kind: "keepalive"; readonly replyNow: boolean };

const XLOG_DATA = 0x77;
const KEEPALIVE = 0x6b;
const STATUS_UPDATE = 0x72;
/** Type, start, end of WAL, time. */
const XLOG_DATA_HEADER = 1 + 8 + 8 + 8;
/** 2000-01-01 in milliseconds since 1970: where PostgreSQL's clock starts. */
const POSTGRES_EPOCH_MS = 946_684_800_000;

/** Reads a message; undefined when its type is unknown. */
export function readWalMessage(message: Buffer): WalMessage | undefined {
  if (message[0] === XLOG_DATA) {
    return { kind: "data", start: message.readBigUInt64BE(1), data: message.subarray(XLOG_DATA_HEADER) };
  }
  if (message[0] === KEEPALIVE) return { kind: "keepalive", replyNow: message[17] === 1 };
  return undefined;
}

/**
 * A standby status update: all WAL before `flushed` is safe, so the slot may move there. `0/0` only says that the
 * receiver is alive.
 */
export function statusUpdate(flushed: bigint | string): Buffer {
  const position = typeof flushed === "string" ? lsn(flushed) : flushed;
  const message = Buffer.alloc(1 + 8 * 4 + 1);
  message[0] = STATUS_UPDATE;
  message.writeBigUInt64BE(position, 1);
  message.writeBigUInt64BE(position, 9);
  message.writeBigUInt64BE(position, 17);
  message.writeBigInt64BE(BigInt(Date.now() - POSTGRES_EPOCH_MS) * 1000n, 25);
  return message;
}

/** The header of a segment's first page (`XLogLongPageHeaderData` in PostgreSQL's `xlog_internal.h`). */
export interface SegmentHeader {
  readonly pageAddress: bigint;
  readonly systemIdentifier: string;
  readonly segmentBytes: number;
}

/** So many bytes of a segment are its header. */
export const SEGMENT_HEADER_BYTES = 40;

/** Reads it in the byte order of the server, which is this machine's or its mirror; undefined when there is none. */
export function readSegmentHeader(segment: Buffer): SegmentHeader | undefined {
  const bigEndian = segment[0] === 0xd1;
  const info = bigEndian ? segment.readUInt16BE(2) : segment.readUInt16LE(2);
  if ((!bigEndian && segment[1] !== 0xd1) || (info & LONG_HEADER) === 0) return undefined;
  return bigEndian
    ? {
        pageAddress: segment.readBigUInt64BE(8),
        systemIdentifier: String(segment.readBigUInt64BE(24)),
        segmentBytes: segment.readUInt32BE(32),
      }
    : {
        pageAddress: segment.readBigUInt64LE(8),
        systemIdentifier: String(segment.readBigUInt64LE(24)),
        segmentBytes: segment.readUInt32LE(32),
      };
}

/** `XLP_LONG_HEADER` */
const LONG_HEADER = 0x0002;
