import { sleep } from "./signals.ts";

export interface RetryPolicy {
  /** For so long after its first attempt began, work is tried again. */
  readonly withinMs: number;
  /** Tries in all, the first one included; as many as fit into the time unless given. */
  readonly attempts?: number | undefined;
  /** The longest pause after the first failure; it doubles with each further one. */
  readonly baseMs: number;
  readonly capMs: number;
}

/** What to do after a failure. */
export interface RetryAdvice {
  /** The other side named a time before which it does not want to be asked again. */
  readonly afterMs?: number | undefined;
  /** Fewer attempts than the policy allows. */
  readonly attempts?: number | undefined;
}

/** Pause before the next attempt after `failures` failures: exponential with full jitter, never before `afterMs`. */
export function pauseMs(policy: RetryPolicy, failures: number, afterMs = 0): number {
  const ceiling = Math.min(policy.capMs, policy.baseMs * 2 ** (failures - 1));
  return afterMs + Math.random() * ceiling;
}

/**
 * How long to wait before another attempt, after `failures` failures in a row over `spentMs`; undefined when there shall be
 * none. A pause that the other side asks for but that does not fit into the time is an outage: better a sentence now
 * than a job that seems to hang.
 */
export function nextPause(
  policy: RetryPolicy,
  failures: number,
  spentMs: number,
  advice: RetryAdvice = {},
): number | undefined {
  const { attempts = Number.POSITIVE_INFINITY, afterMs = 0 } = advice;
  if (failures >= Math.min(policy.attempts ?? attempts, attempts)) return undefined;
  const left = policy.withinMs - spentMs;
  if (left <= 0 || afterMs > left) return undefined;
  // The last attempt is made when the time ends.
  return Math.min(pauseMs(policy, failures, afterMs), left);
}

/**
 * Runs `attempt` until it succeeds. `judge` answers undefined for a failure that another attempt can not mend; the
 * last failure is thrown as it is.
 */
export async function withRetries<T>(
  policy: RetryPolicy,
  signal: AbortSignal,
  attempt: (number: number) => Promise<T>,
  judge: (error: unknown) => RetryAdvice | undefined,
  onRetry: (error: unknown, pause: number) => void,
): Promise<T> {
  const began = performance.now();
  for (let number = 1; ; number += 1) {
    try {
      return await attempt(number);
    } catch (error) {
      const advice = signal.aborted ? undefined : judge(error);
      const pause = advice && nextPause(policy, number, performance.now() - began, advice);
      if (pause === undefined) throw error;
      onRetry(error, pause);
      await sleep(pause, signal);
    }
  }
}
