import { statfs } from "node:fs/promises";
import type { WalSegment } from "../../catalog/wal.ts";
import { ToolError } from "../../errors.ts";
import { formatBytes } from "../../values.ts";

/** PostgreSQL keeps replayed WAL until a restart point; `max_wal_size` of our settings bounds it. */
export const MAX_WAL_BYTES = 1024 ** 3;
/** For what the server writes itself: the end-of-recovery checkpoint, new WAL, temporary files of checks. */
const RESERVE_BYTES = 128 * 2 ** 20;

/** Bytes of disk that a recovery needs: the data, the WAL that lies around at one time, and a reserve. */
export function neededBytes(
  dataBytes: number,
  segments: readonly WalSegment[],
  segmentBytes: number,
  windowSegments: number,
): number {
  const wal = Math.min(segments.length * segmentBytes, MAX_WAL_BYTES + windowSegments * segmentBytes);
  return dataBytes + wal + RESERVE_BYTES;
}

/** Throws a {@link ToolError} that says how much is missing and where. */
export async function requireFreeDisk(folder: string, needed: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (free >= needed) return;
  throw new ToolError(
    `The recovery needs ${formatBytes(needed)} of disk at ${folder}, but only ${formatBytes(free)} are free: ${formatBytes(needed - free)} are missing. Free space there, or set RUNNER_TEMP to a larger disk.`,
  );
}
