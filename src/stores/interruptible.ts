/** Reads a source so that another party can end the wait for its next piece. */
export interface Interruptible<T> {
  /** The next piece, or undefined at the end. Rejects with what {@link Interruptible.interrupt} was given. */
  next(): Promise<T | undefined>;
  /** Ends a wait that is under way, and every later one. */
  interrupt(error: unknown): void;
  /** Tells the source that nothing more is wanted, so that it can free what it holds. */
  close(): Promise<void>;
}

/**
 * A plain `for await` hangs for ever when the source hangs, even after the work it feeds has failed. Each wait
 * here is a promise of its own: a long stream leaves nothing behind on a promise that lives as long as it.
 */
export function interruptible<T>(source: AsyncIterable<T>): Interruptible<T> {
  const iterator = source[Symbol.asyncIterator]();
  let stopped: { readonly error: unknown } | undefined;
  let rejectWait: ((error: unknown) => void) | undefined;
  let waiting = false;
  let ended = false;

  return {
    next(): Promise<T | undefined> {
      return new Promise((resolve, reject) => {
        if (stopped !== undefined) return reject(stopped.error);
        waiting = true;
        rejectWait = reject;
        iterator.next().then(
          (result) => {
            waiting = false;
            ended = result.done === true;
            resolve(result.done === true ? undefined : result.value);
          },
          (error: unknown) => {
            waiting = false;
            ended = true;
            reject(error);
          },
        );
      });
    },
    interrupt(error: unknown): void {
      stopped ??= { error };
      rejectWait?.(stopped.error);
    },
    async close(): Promise<void> {
      if (ended) return;
      ended = true;
      const closing = Promise.resolve(iterator.return?.()).catch(() => undefined);
      // A generator that still waits for its own source answers only when that does, which may be never.
      if (!waiting) await closing;
    },
  };
}
