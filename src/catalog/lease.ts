import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import type { Context } from "../context.ts";
import { sleep } from "../stores/signals.ts";
import type { Store } from "../stores/store.ts";
import { formatDuration } from "../values.ts";
import { type HeldLease, holdLease } from "./held-lease.ts";
import { createLease, type LeaseDocument, type LeaseObject, readLease } from "./lease-objects.ts";

/** All in milliseconds. */
export interface LeaseTiming {
  /** A lease that was not renewed for so long is nobody's. */
  readonly expiry: number;
  readonly renewEvery: number;
  /** So far may the clocks of two machines be apart. */
  readonly skew: number;
  /** Between two looks of a run that waits. */
  readonly lookEvery: number;
}

const LEASE_TIMING: LeaseTiming = {
  expiry: 120_000,
  renewEvery: 30_000,
  skew: 60_000,
  lookEvery: 2_000,
};

export interface LeaseRequest {
  readonly store: Store;
  readonly component: string;
  readonly kind: LeaseDocument["kind"];
  /** Another run at work is waited for so long. */
  readonly waitSeconds: number;
  /** Ends the wait as soon as another run that archives WAL is seen to be alive. */
  readonly yields: boolean;
  readonly timing?: LeaseTiming;
}

/** Another run that held the lease until the end of the wait. */
export interface Busy {
  readonly kind: LeaseDocument["kind"];
  /** `the full backup of https://…/runs/1, at work since …`, for sentences. */
  readonly who: string;
  /** It renewed its lease while this run looked on. */
  readonly alive: boolean;
}

/**
 * Waits until nobody else writes into the component's place; the run that still does when the wait is over, else
 * undefined. Takes nothing: for the time before a run has opened its connections.
 */
export async function waitForLease(request: LeaseRequest, context: Context): Promise<Busy | undefined> {
  const found = await look(request, context, async () => "free" as const);
  return found === "free" ? undefined : found;
}

/** Takes the lease, after a wait where another run has it; that run when the wait was in vain. */
export async function takeLease(request: LeaseRequest, context: Context): Promise<HeldLease | Busy> {
  return await look(request, context, (newest) => tryToTake(request, newest, context));
}

/** Looks at the lease until it is free and `take` succeeded, or until the wait is over. */
async function look<T>(
  request: LeaseRequest,
  context: Context,
  take: (newest: LeaseObject | undefined) => Promise<T | undefined>,
): Promise<T | Busy> {
  const { store, component, waitSeconds, yields, timing = LEASE_TIMING } = request;
  const { signal, log } = context;
  const began = performance.now();
  let seen: { readonly lease: LeaseObject; readonly at: number } | undefined;
  let announced: string | undefined;
  let alive: string | undefined;
  for (;;) {
    const newest = (await readLease(store, component, signal))?.newest;
    const now = performance.now();
    const before = seen?.lease;
    if (newest?.number !== before?.number) seen = newest && { lease: newest, at: now };
    if (newest === undefined || isFree(newest, now - (seen?.at ?? now), timing, context.now())) {
      const taken = await take(newest);
      if (taken !== undefined) return taken;
      await sleep(timing.lookEvery, signal);
      continue;
    }
    const who = describe(newest);
    const { token, kind = "prune" } = newest.document ?? {};
    if (before !== undefined && newest.number > before.number && before.document?.token === token)
      alive = token;
    const busy = { kind, who, alive: token !== undefined && alive === token };
    if (yields && busy.alive && kind !== "prune") return busy;
    if (now - began >= waitSeconds * 1000) return busy;
    if (announced !== token) {
      announced = token;
      const until = newest.document?.expiresAt ?? "unknown";
      const patience = yields
        ? "to see whether it lives"
        : `up to ${formatDuration(waitSeconds)} for it to end`;
      log.info(
        `${component}: ${who}, holds the lease (until ${until}, renewed while it lives): waiting ${patience}.`,
      );
    }
    await sleep(timing.lookEvery, signal);
  }
}

/**
 * Nobody's: released, expired by more than the clocks may differ, or not renewed for as long as this run looks on, which
 * asks no clock but its own.
 */
function isFree(lease: LeaseObject, watchedMs: number, timing: LeaseTiming, now: Date): boolean {
  if (lease.document?.released || watchedMs >= timing.expiry) return true;
  const expiresAt = Date.parse(lease.document?.expiresAt ?? "");
  return now.getTime() > expiresAt + timing.skew;
}

async function tryToTake(
  request: LeaseRequest,
  newest: LeaseObject | undefined,
  context: Context,
): Promise<HeldLease | undefined> {
  const { store, component, kind, timing = LEASE_TIMING } = request;
  const base = {
    token: randomBytes(8).toString("hex"),
    holder: holderOf(context.env),
    kind,
    startedAt: context.now().toISOString(),
  };
  const number = (newest?.number ?? 0) + 1;
  const began = performance.now();
  const expiresAt = new Date(context.now().getTime() + timing.expiry).toISOString();
  const document = { ...base, expiresAt, released: false };
  if (!(await createLease(store, component, number, document, context.signal))) return undefined;
  // A number that was free could have been used and deleted since it was looked up; and a store that cannot create
  // exclusively lets two runs write the same one.
  const found = await readLease(store, component, context.signal, number);
  if (found?.newest.document?.token !== base.token) return undefined;
  if (newest !== undefined && newest.document?.released !== true) {
    context.log.info(
      `${component}: ${describe(newest)}, has ended without a word, so this run takes its place.`,
    );
  }
  const held = { number, confirmed: began, takenAt: found.newest.modified };
  return holdLease({ store, component, timing, base }, held, context);
}

function describe({ document }: LeaseObject): string {
  if (document === undefined) return "a run whose lease cannot be read";
  const what = { full: "the full backup", wal: "the run with kind wal", prune: "the retention" }[
    document.kind
  ];
  return `${what} of ${document.holder.slice(0, 200)}, at work since ${document.startedAt}`;
}

function holderOf(env: Context["env"]): string {
  const { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: repository, GITHUB_RUN_ID: id } = env;
  if (server && repository && id) return `${server}/${repository}/actions/runs/${id}`;
  return `process ${process.pid} on ${hostname()}`;
}
