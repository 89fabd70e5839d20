import type { Context } from "./context.ts";
import { formatBytes, formatDuration } from "./values.ts";

/** Reports rate and time left of work on bytes, at most every few seconds. */
export interface Progress {
  add(bytes: number): void;
  /** Prints the closing line with the total and the mean rate. */
  done(): void;
}

const EVERY_MS = 5_000;

/** `totalBytes` may be an estimate: percent and ETA are left out once it is passed. */
export function startProgress(context: Context, label: string, totalBytes?: number): Progress {
  const startedAt = performance.now();
  let lastLine = startedAt;
  let bytes = 0;

  function line(now: number): string {
    const seconds = Math.max((now - startedAt) / 1000, 0.001);
    const rate = bytes / seconds;
    const parts = [`${label}: ${formatBytes(bytes)}`];
    if (totalBytes !== undefined && totalBytes >= bytes && bytes > 0) {
      parts.push(`${Math.floor((bytes / totalBytes) * 100)} % of about ${formatBytes(totalBytes)}`);
      parts.push(`ETA ${formatDuration((totalBytes - bytes) / rate)}`);
    }
    parts.push(`${formatBytes(rate)}/s`);
    return parts.join(", ");
  }

  return {
    add(more: number): void {
      bytes += more;
      const now = performance.now();
      if (now - lastLine < EVERY_MS) return;
      lastLine = now;
      context.log.info(line(now));
    },
    done(): void {
      const seconds = Math.max((performance.now() - startedAt) / 1000, 0.001);
      context.log.info(
        `${label}: ${formatBytes(bytes)} in ${formatDuration(seconds)} (${formatBytes(bytes / seconds)}/s)`,
      );
    },
  };
}
