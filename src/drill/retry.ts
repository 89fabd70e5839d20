import { setTimeout as sleep } from "node:timers/promises";
import { AbortedError } from "../errors.ts";
import type { Verdict } from "../record.ts";

/** What one try of a check saw, in words for the record. */
export interface Observation {
  readonly status: Verdict;
  readonly expected: string;
  readonly actual: string;
}

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5_000;

/**
 * Tries a check until it is passed or `withinSeconds` are over; without them, once. Returns the last observation. `attempt`
 * is handed the seconds that are left, or undefined when there is no limit.
 */
export async function tryUntil(
  withinSeconds: number | undefined,
  signal: AbortSignal,
  attempt: (secondsLeft: number | undefined) => Promise<Observation>,
): Promise<Observation> {
  const until = performance.now() + (withinSeconds ?? 0) * 1000;
  let pause = FIRST_PAUSE_MS;
  for (let tries = 1; ; tries += 1) {
    if (signal.aborted) throw new AbortedError();
    const left = (until - performance.now()) / 1000;
    const seen = await attempt(withinSeconds === undefined ? undefined : Math.max(left, 0.05));
    if (seen.status === "passed" || withinSeconds === undefined) return seen;
    if (performance.now() + pause >= until) {
      return {
        ...seen,
        actual: `${seen.actual} (after ${tries} ${tries === 1 ? "try" : "tries"} in ${withinSeconds} s)`,
      };
    }
    await pauseFor(pause, signal);
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
  }
}

async function pauseFor(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { signal });
  } catch {
    throw new AbortedError();
  }
}
