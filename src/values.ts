/** Durations and sizes as people write them in a runbook: `45s`, `1h30m`, `512MiB`, `2GB`. */

/** Days, hours, minutes, seconds. */
const DURATION_UNITS = [86_400, 3_600, 60, 1];
const SIZE_UNITS: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};

/** Seconds of `45s`, `10m`, `4h`, `30d` or a combination in falling order such as `1h30m`; undefined if it is none. */
export function parseDuration(text: string): number | undefined {
  const match = /^(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/.exec(text);
  if (match === null || text === "") return undefined;
  const seconds = DURATION_UNITS.reduce((sum, unit, index) => sum + Number(match[index + 1] ?? 0) * unit, 0);
  return Number.isSafeInteger(seconds) ? seconds : undefined;
}

/** Bytes of `512MiB`, `2GB` or `4096B`; undefined if it is none. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s?([kKMGT]?i?B)$/.exec(text);
  const unit = SIZE_UNITS[match?.[2] ?? ""];
  if (match === null || unit === undefined) return undefined;
  const bytes = Math.round(Number(match[1]) * unit);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** `1.3 GiB`: three significant digits, binary units. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let value = bytes;
  let unit = 0;
  // What would be rounded up to 1024 belongs to the next unit.
  while (value >= (unit === 0 ? 1024 : 1023.5) && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${units[unit]}`;
}

/** `4 ms`, `5 s`, `41.8 s`, `12 min 5 s`, `3 h 20 min`, `2 d 4 h`: two units at most. A clock that ran backwards gives `-5 s`. */
export function formatDuration(seconds: number): string {
  if (seconds < 0) return `-${formatDuration(-seconds)}`;
  if (!Number.isFinite(seconds)) return "unknown";
  if (seconds < 59.95 && Number.isInteger(seconds)) return `${seconds} s`;
  // Never 0: what was measured took some time.
  const ms = Math.max(1, Math.round(seconds * 1000));
  if (ms < 1000) return `${ms} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const parts: [number, string][] = [
    [Math.floor(whole / 86_400), "d"],
    [Math.floor((whole % 86_400) / 3_600), "h"],
    [Math.floor((whole % 3_600) / 60), "min"],
    [whole % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(" ");
}
