/** Positions in the WAL (`0/1A2B3C4D`) and the 24 hex digits of segment names. Pure arithmetic. */

const LSN = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/;
const SEGMENT = /^[0-9A-F]{24}$/;

/** The number of an LSN; undefined when the text is none. */
export function parseLsn(text: string): bigint | undefined {
  const match = LSN.exec(text);
  if (match === null) return undefined;
  return (BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`);
}

/** The number of an LSN that a server or a manifest of ours wrote; throws on anything else. */
export function lsn(text: string): bigint {
  const value = parseLsn(text);
  if (value === undefined) throw new Error(`"${text}" is not a WAL position.`);
  return value;
}

/** `0/1A2B3C4D`, as PostgreSQL prints it. */
export function formatLsn(value: bigint): string {
  return `${(value >> 32n).toString(16).toUpperCase()}/${(value & 0xffff_ffffn).toString(16).toUpperCase()}`;
}

/** The number of the segment that holds the byte at `position`. */
export function segmentAt(position: bigint, segmentBytes: number): number {
  return Number(position / BigInt(segmentBytes));
}

/**
 * The number of the segment that holds the last byte before `end`: a record that ends at a segment's first byte
 * lies in the segment before.
 */
export function segmentBefore(end: bigint, segmentBytes: number): number {
  return segmentAt(end > 0n ? end - 1n : 0n, segmentBytes);
}

/** The position of a segment's first byte. */
export function segmentStart(number: number, segmentBytes: number): bigint {
  return BigInt(number) * BigInt(segmentBytes);
}

function segmentsPerLog(segmentBytes: number): number {
  return 2 ** 32 / segmentBytes;
}

function hex8(value: number): string {
  return value.toString(16).toUpperCase().padStart(8, "0");
}

/** `00000001000000000000000A`: timeline, then the number in two parts, as `XLogFileName` in PostgreSQL does. */
export function segmentName(timeline: number, number: number, segmentBytes: number): string {
  const perLog = segmentsPerLog(segmentBytes);
  return hex8(timeline) + hex8(Math.floor(number / perLog)) + hex8(number % perLog);
}

/** Timeline and number of a segment's name; undefined when the name is none or cannot be of this segment size. */
export function parseSegmentName(
  name: string,
  segmentBytes: number,
): { readonly timeline: number; readonly number: number } | undefined {
  if (!SEGMENT.test(name)) return undefined;
  const perLog = segmentsPerLog(segmentBytes);
  const low = Number.parseInt(name.slice(16), 16);
  if (low >= perLog) return undefined;
  return {
    timeline: Number.parseInt(name.slice(0, 8), 16),
    number: Number.parseInt(name.slice(8, 16), 16) * perLog + low,
  };
}
