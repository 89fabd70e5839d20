import { formatLsn, lsn } from "../../catalog/lsn.ts";
import type { NamedPoint } from "../../catalog/wal.ts";
import { toRfc3339 } from "../../targets.ts";
import { isLittleEndian, LONGEST_POINT_BYTES, recordsOf, XLOG_MANAGER } from "../wal-records.ts";

/** `XLOG_RESTORE_POINT` in src/include/catalog/pg_control.h */
const RESTORE_POINT = 0x70;
/** `xl_restore_point`: the time in microseconds since 2000, then the name in 64 bytes (xlog_internal.h). */
const TIME_BYTES = 8;
const RECORD_BYTES = TIME_BYTES + 64;
/** 2000-01-01 in microseconds since 1970: where PostgreSQL's clock starts. */
const POSTGRES_EPOCH_MICROS = 946_684_800_000_000n;

/**
 * The restore points whose records lie in a WAL segment, in order, whoever made them. One that continues in the next
 * segment, which is one in 160,000 of those of a busy server, is not seen: it is no target then.
 */
export function restorePointsIn(segment: Buffer): NamedPoint[] {
  const points: NamedPoint[] = [];
  for (const record of recordsOf(segment, [XLOG_MANAGER])) {
    if (record.kind !== RESTORE_POINT) continue;
    const data = record.mainData(RECORD_BYTES);
    const nul = data.indexOf(0, TIME_BYTES);
    if (data.length < RECORD_BYTES || nul === -1 || record.end > endOf(segment)) continue;
    const name = data.subarray(TIME_BYTES, nul).toString("utf8");
    const micros = data.readBigInt64LE(0) + POSTGRES_EPOCH_MICROS;
    points.push({ name, lsn: formatLsn(record.end), time: toRfc3339(micros) });
  }
  return points;
}

/**
 * Whether the record of a point lies in a segment. False is proof that the segment is from elsewhere: the server that made
 * the point and the one that the WAL comes from went separate ways. A record that may have begun in the segment before
 * cannot be told, and counts as there.
 */
export function holdsPoint(segment: Buffer, point: Pick<NamedPoint, "name" | "lsn">): boolean {
  const into = lsn(point.lsn) - segment.readBigUInt64LE(8);
  if (!isLittleEndian(segment) || into < LONGEST_POINT_BYTES) return true;
  return restorePointsIn(segment).some(({ name, lsn: end }) => name === point.name && end === point.lsn);
}

function endOf(segment: Buffer): bigint {
  return segment.readBigUInt64LE(8) + BigInt(segment.length);
}
