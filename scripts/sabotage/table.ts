import { isGood, type Result } from "./run.ts";

const HEAD = ["", "name", "what was done", "who saw it", "code", "seconds"] as const;
const WIDTHS = [2, 34, 60, 16, 46, 7] as const;

export function header(): string {
  return `${row(HEAD)}\n${row(WIDTHS.map((width) => "-".repeat(width)))}`;
}

/** A line for the result, and one more that says why when it is not good. */
export function lineOf(result: Result): string {
  const { name, sentence, by, code, seconds, message, outcome } = result;
  const good = isGood(result);
  const line = row([
    good ? "ok" : "NO",
    name,
    sentence,
    outcome === "green" ? "nobody" : by,
    code,
    seconds.toFixed(1),
  ]);
  return good ? line : `${line}\n   ${outcome.toUpperCase()}: ${message}`;
}

function row(cells: readonly string[]): string {
  return cells
    .map((cell, index) => cell.padEnd(WIDTHS[index] ?? 0))
    .join("  ")
    .trimEnd();
}

/** `ok` is true for 100 % alone, and never when nothing was tried. */
export function scoreOf(results: readonly Result[]): {
  readonly ok: boolean;
  readonly caught: number;
  readonly broken: number;
  readonly green: number;
  readonly healthy: number;
} {
  const healthy = results.filter(({ outcome }) => outcome === "green" || outcome === "false alarm");
  const broken = results.filter((result) => !healthy.includes(result));
  const caught = broken.filter(isGood).length;
  const green = healthy.filter(isGood).length;
  return {
    ok: broken.length > 0 && healthy.length > 0 && results.every(isGood),
    ...{ caught, broken: broken.length, green, healthy: healthy.length },
  };
}
