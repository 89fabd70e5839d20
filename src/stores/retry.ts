import { sleep } from "./signals.ts";

export interface RetryPolicy {
  /** Tries in all, the first one included. */
  readonly attempts: number;
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

/** Longer than this is not a pause but an outage: better a sentence now than a job that seems to hang. */
const LONGEST_PAUSE_MS = 5 * 60_000;

/** Pause before the next attempt after `failures` failures: exponential with full jitter, never before `afterMs`. */
export function pauseMs(policy: RetryPolicy, failures: number, afterMs = 0): number {
  const ceiling = Math.min(policy.capMs, policy.baseMs * 2 ** (failures - 1));
  return afterMs + Math.random() * ceiling;
}

/** Whether another attempt makes sense after `failures` failures in a row. */
export function mayRetry(policy: RetryPolicy, failures: number, advice: RetryAdvice): boolean {
  const attempts = Math.min(policy.attempts, advice.attempts ?? policy.attempts);
  return failures < attempts && (advice.afterMs ?? 0) <= LONGEST_PAUSE_MS;
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
  for (let number = 1; ; number += 1) {
    try {
      return await attempt(number);
    } catch (error) {
      const advice = signal.aborted ? undefined : judge(error);
      if (advice === undefined || !mayRetry(policy, number, advice)) throw error;
      const pause = pauseMs(policy, number, advice.afterMs);
      onRetry(error, pause);
      await sleep(pause, signal);
    }
  }
}
