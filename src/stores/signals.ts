import { AbortedError } from "../errors.ts";

/** A signal that is aborted when any of these is. */
export function anySignal(...signals: readonly (AbortSignal | undefined)[]): AbortSignal {
  return AbortSignal.any(signals.filter((signal) => signal !== undefined));
}

/** What a call that was stopped from outside throws. */
export function abortedBy(signal: AbortSignal): AbortedError {
  return signal.reason instanceof AbortedError ? signal.reason : new AbortedError();
}

export function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw abortedBy(signal);
}

/** Runs `work` with `onAbort` waiting for the signal, and takes the listener away again. */
export async function whileListening<T>(
  signal: AbortSignal,
  onAbort: () => void,
  work: () => Promise<T>,
): Promise<T> {
  throwIfAborted(signal);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await work();
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** Waits; rejects with an AbortedError as soon as the signal is aborted. */
export async function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  try {
    await whileListening(
      signal,
      () => reject(abortedBy(signal)),
      () => promise,
    );
  } finally {
    clearTimeout(timer);
  }
}
