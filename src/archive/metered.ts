import { createHash } from "node:crypto";
import { AbortedError } from "../errors.ts";

/** Counts and hashes (SHA-256) what flows by. */
export class Meter {
  readonly #hash = createHash("sha256");
  #digest: string | undefined;
  #bytes = 0;

  add(chunk: Uint8Array): void {
    this.#hash.update(chunk);
    this.#bytes += chunk.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The SHA-256 in hex; nothing can be added afterwards. */
  sha256(): string {
    this.#digest ??= this.#hash.digest("hex");
    return this.#digest;
  }
}

/**
 * The same stream, which ends with an {@link AbortedError} as soon as the signal is given, even while the source is
 * silent.
 */
export async function* abortable(
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, void> {
  if (signal === undefined) {
    yield* source;
    return;
  }
  const iterator = source[Symbol.asyncIterator]();
  let stop: () => void = () => undefined;
  const onAbort = (): void => stop();
  signal.addEventListener("abort", onAbort, { once: true });
  let finished = false;
  try {
    for (;;) {
      const next = await new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
        stop = () => reject(new AbortedError());
        if (signal.aborted) stop();
        else iterator.next().then(resolve, reject);
      });
      if (next.done === true) {
        finished = true;
        return;
      }
      yield next.value;
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    const closed = finished ? undefined : iterator.return?.();
    // A source that hangs in a read cannot be waited for.
    if (signal.aborted) closed?.catch(() => undefined);
    else await closed;
  }
}
