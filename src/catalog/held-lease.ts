import type { Context } from "../context.ts";
import { messageOf, ToolError } from "../errors.ts";
import { sleep } from "../stores/signals.ts";
import type { Store } from "../stores/store.ts";
import { leaseKey } from "./layout.ts";
import type { LeaseTiming } from "./lease.ts";
import { createLease, type LeaseDocument, readLease } from "./lease-objects.ts";

/** The right to write into a component's place. It is renewed until it is released. */
export interface HeldLease {
  /**
   * The store as this run may use it: a write fails once the lease is known to be lost, and a deletion asks the store each
   * time whether it is still held.
   */
  readonly store: Store;
  /** When it was taken, by the store's clock: what other runs left below the component's prefix is older. */
  readonly takenAt: Date;
  /** Asks the store. Throws a {@link ToolError} when another run has taken over. */
  assertHeld(signal?: AbortSignal): Promise<void>;
  /** Lets the next run begin. Never throws: a lease that cannot be released expires. */
  release(): Promise<void>;
}

export interface LeaseBase {
  readonly store: Store;
  readonly component: string;
  readonly timing: LeaseTiming;
  readonly base: Omit<LeaseDocument, "schema" | "expiresAt" | "released">;
}

interface Held {
  readonly number: number;
  /** When the request began with which it was last seen to be ours, by `performance.now()`. */
  readonly confirmed: number;
  readonly takenAt: Date;
}

/** A run that is being stopped has little time left. */
const RELEASE_MS = 1_000;
/** After this part of the expiry without a sign from the store, nothing is written before it was asked again. */
const SAFE_PART = 0.75;

export function holdLease(lease: LeaseBase, held: Held, context: Context): HeldLease {
  const { store, component, timing, base } = lease;
  const ended = new AbortController();
  let { number, confirmed } = held;
  let lost: ToolError | undefined;
  let warned = false;
  /** One request about the lease at a time: each looks at the number that the one before left. */
  let queue: Promise<unknown> = Promise.resolve();

  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = queue.then(work);
    queue = turn.catch(() => undefined);
    return turn;
  }

  function lose(by: string): ToolError {
    lost ??= new ToolError(
      `Another run has taken the lease of "${component}" over (${by}), because this one could not renew it in time: this run stops here and has listed and deleted nothing since. Run it again.`,
    );
    return lost;
  }

  /** The number is still ours, or becomes ours; else it is lost. */
  async function look(signal: AbortSignal): Promise<void> {
    const began = performance.now();
    const newest = (await readLease(store, component, signal, number))?.newest;
    if (newest?.document?.token !== base.token) throw lose(newest?.document?.holder ?? "an unknown one");
    number = newest.number;
    confirmed = began;
  }

  async function renew(released: boolean, signal: AbortSignal): Promise<void> {
    if (lost !== undefined) throw lost;
    for (let created = false; !created; ) {
      const expiresAt = new Date(context.now().getTime() + (released ? 0 : timing.expiry)).toISOString();
      const document = { ...base, expiresAt, released };
      created = await createLease(store, component, number + 1, document, signal);
      // Whatever was answered: the newest must be ours. It may be one that this run wrote and had no answer to.
      await look(signal);
    }
    await tidy(signal);
  }

  /** Only the newest counts. */
  async function tidy(signal: AbortSignal): Promise<void> {
    try {
      const older = (await readLease(store, component, signal, number))?.older ?? [];
      if (older.length > 0) await store.delete(older, signal);
    } catch (error) {
      if (signal.aborted || warned) return;
      warned = true;
      const place = store.describe(leaseKey(component, number));
      context.log.warning(`Old lease objects beside ${place} could not be deleted: ${messageOf(error)}`);
    }
  }

  async function keepRenewing(): Promise<void> {
    let pause = timing.renewEvery;
    while (!ended.signal.aborted && lost === undefined) {
      try {
        await sleep(pause, ended.signal);
        await inTurn(() => renew(false, ended.signal));
        pause = timing.renewEvery;
      } catch (error) {
        if (ended.signal.aborted || lost !== undefined) return;
        context.log.debug(`The lease of ${component} could not be renewed: ${messageOf(error)}`);
        pause = timing.renewEvery / 6;
      }
    }
  }

  const isSafe = () => performance.now() - confirmed < timing.expiry * SAFE_PART;

  async function assertHeld(signal: AbortSignal = context.signal): Promise<void> {
    if (lost !== undefined) throw lost;
    // When it may have expired, only a new number proves that nobody took over, and that nobody does now.
    await inTurn(() => (isSafe() ? look(signal) : renew(false, signal)));
  }

  const renewing = inTurn(() => tidy(ended.signal)).then(keepRenewing);
  return {
    store: fence(store, () => lost, assertHeld),
    takenAt: held.takenAt,
    assertHeld,
    async release() {
      ended.abort();
      await renewing.catch(() => undefined);
      try {
        const signal = AbortSignal.timeout(RELEASE_MS);
        await inTurn(() => renew(true, signal));
      } catch (error) {
        context.log.debug(`The lease of ${component} was not released: ${messageOf(error)}`);
      }
    },
  };
}

function fence(
  store: Store,
  lost: () => ToolError | undefined,
  assertHeld: (signal?: AbortSignal) => Promise<void>,
): Store {
  function assertNotLost(): void {
    const error = lost();
    if (error !== undefined) throw error;
  }
  return {
    ...store,
    async put(key, body, options) {
      assertNotLost();
      return await store.put(key, body, options);
    },
    async create(key, body, signal) {
      assertNotLost();
      return await store.create(key, body, signal);
    },
    async delete(keys, signal) {
      await assertHeld(signal);
      await store.delete(keys, signal);
    },
  };
}
