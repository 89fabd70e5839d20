import { release } from "../archive/release.ts";
import { formatLsn, lsn, segmentBefore, segmentName, segmentStart } from "../catalog/lsn.ts";
import { timelineOfSegment } from "../catalog/timelines.ts";
import type { RestorePoint } from "../catalog/wal.ts";
import type { Context } from "../context.ts";
import { AbortedError, ToolError } from "../errors.ts";
import { startProgress } from "../progress.ts";
import type { Connection } from "./connection.ts";
import { WalRemovedError } from "./errors.ts";
import type { Slot } from "./slot.ts";
import type { ClusterIdentity } from "./source-facts.ts";
import { archiveSegment, type WalArchive } from "./wal-archive.ts";
import { gapSentence, type Leg, legsFrom, type WalPlan } from "./wal-plan.ts";
import { openWalStream, type WalStream } from "./wal-stream.ts";

/** What a pull is told from outside while it runs. */
interface Goal {
  /** The end of the WAL that must be in the store: the whole segment that holds the byte before it. */
  readonly through: bigint;
  /** Recorded with the segment that holds it. */
  readonly point: RestorePoint | undefined;
}

export interface PullResult {
  readonly segments: number;
  /** Bytes written to the store. */
  readonly bytes: number;
  /** Name of the segment that the chain in the store ends with. */
  readonly lastSegment: string;
}

export interface Pull {
  /** To be called before a restore point is made: segments wait for {@link Pull.finish}, which names the point. */
  hold(): void;
  /** Ends the pull as soon as everything through the goal is in the store. */
  finish(goal: Goal): void;
  /** Settles when the pull ended; never before its uploads have. */
  readonly done: Promise<PullResult>;
  /** Gives up when it has not ended yet; for when something else failed. Settles with {@link Pull.done}. */
  stop(): Promise<void>;
}

export interface PullOptions {
  readonly archive: WalArchive;
  readonly identity: ClusterIdentity;
  readonly slot: Slot;
  readonly plan: WalPlan;
  /** `wal`: a gap in the chain is an error. `full`: it is a warning, and the chain begins anew at the slot. */
  readonly kind: "full" | "wal";
}

/** Memory of segments that are being uploaded. */
const IN_FLIGHT_BYTES = 32 * 2 ** 20;

/** Starts to copy WAL segments into the store over a replication connection that it has for itself. */
export function startPull(replication: Connection, options: PullOptions, context: Context): Pull {
  const { archive, identity, slot, plan } = options;
  const { walSegmentBytes } = identity;
  const most = Math.max(1, Math.min(4, Math.floor(IN_FLIGHT_BYTES / walSegmentBytes)));
  const progress = startProgress(context, "WAL");
  const uploads = new Set<Promise<void>>();
  const stored = new Set<number>();
  let goal: Goal | undefined;
  let held: PromiseWithResolvers<void> | undefined;
  let failure: { readonly error: unknown } | undefined;
  let durable = plan.first - 1;
  let segments = 0;
  let bytes = 0;
  let stream: WalStream | undefined;
  let changed = Promise.withResolvers<void>();

  /** Makes the loop look again at goal and failure. */
  function touch(): void {
    changed.resolve();
    changed = Promise.withResolvers<void>();
  }

  function nameOf(number: number): string {
    return segmentName(timelineOfSegment(plan.path, number, walSegmentBytes), number, walSegmentBytes);
  }

  function upload(timeline: number, number: number, content: Buffer): void {
    const name = segmentName(timeline, number, walSegmentBytes);
    const work = async () => {
      await held?.promise;
      const point = goal?.point;
      const holdsPoint = point !== undefined && segmentBefore(lsn(point.lsn), walSegmentBytes) === number;
      bytes += await archiveSegment(archive, name, content, holdsPoint ? point : undefined, context);
      release(content);
      segments += 1;
      progress.add(content.length);
      stored.add(number);
      // Uploads end in any order, but only an unbroken run is safe.
      while (stored.delete(durable + 1)) durable += 1;
      confirm();
    };
    const task: Promise<void> = work()
      .catch((error: unknown) => {
        failure ??= { error };
      })
      .finally(() => {
        uploads.delete(task);
        touch();
      });
    uploads.add(task);
  }

  function confirm(): void {
    const position = segmentStart(durable + 1, walSegmentBytes);
    // The server takes any position, so never ask it to move the slot back.
    if (position > lsn(slot.restartLsn)) stream?.confirm(position);
  }

  function reached(leg: Leg): boolean {
    const last =
      goal === undefined ? leg.last : Math.min(leg.last, segmentBefore(goal.through, walSegmentBytes));
    return durable >= last;
  }

  function throwIfFailed(): void {
    if (context.signal.aborted) throw new AbortedError();
    if (failure !== undefined) throw failure.error;
  }

  async function pullLeg(leg: Leg): Promise<void> {
    const { systemIdentifier } = identity;
    stream = openWalStream(replication, {
      slot: slot.name,
      timeline: leg.timeline,
      first: leg.first,
      segmentBytes: walSegmentBytes,
      systemIdentifier,
    });
    let number = leg.first;
    let next: Promise<Buffer | undefined> | undefined;
    while (!reached(leg)) {
      throwIfFailed();
      if (uploads.size >= most || number > leg.last) {
        await Promise.race([...uploads, changed.promise]);
        continue;
      }
      next ??= stream.next();
      // It may fail after the loop has been left.
      next.catch(() => undefined);
      const pending = next;
      const again = Symbol("again");
      const content = await Promise.race([pending, changed.promise.then(() => again)]);
      if (typeof content === "symbol") continue;
      next = undefined;
      if (content === undefined) {
        throw new ToolError(
          `The server ended timeline ${leg.timeline} before ${formatLsn(segmentStart(number + 1, walSegmentBytes))}: it was promoted or restarted, so run the action again.`,
        );
      }
      upload(leg.timeline, number, content);
      number += 1;
    }
    throwIfFailed();
    // One last time, after the last upload: the end of the copy follows it on the wire.
    confirm();
    await stream.end();
  }

  async function pullFrom(first: number): Promise<void> {
    durable = first - 1;
    for (const leg of legsFrom(plan.path, first, walSegmentBytes)) {
      if (goal !== undefined && leg.first > segmentBefore(goal.through, walSegmentBytes)) return;
      await pullLeg(leg);
    }
  }

  async function run(): Promise<PullResult> {
    try {
      await pullFrom(plan.first).catch(async (error: unknown) => {
        if (!(error instanceof WalRemovedError)) throw error;
        const gap = gapSentence(archive.component, plan, slot, walSegmentBytes);
        if (options.kind === "wal" || plan.slotFirst <= plan.first) {
          throw new ToolError(`${gap}. Take a full backup, which begins a new chain.`);
        }
        context.log.warning(`${gap}. This backup begins a new chain; times in the gap cannot be recovered.`);
        stream?.dispose();
        await pullFrom(plan.slotFirst);
      });
      return { segments, bytes, lastSegment: nameOf(durable) };
    } finally {
      stream?.dispose();
      held?.reject(new AbortedError());
      await Promise.allSettled(uploads);
    }
  }

  const done = run();
  // Whoever waits for it sees the failure; until then it must not end the process.
  done.catch(() => undefined);
  return {
    hold(): void {
      held ??= Promise.withResolvers();
      held.promise.catch(() => undefined);
    },
    finish(reachedGoal): void {
      goal = reachedGoal;
      held?.resolve();
      touch();
    },
    done,
    async stop(): Promise<void> {
      failure ??= { error: new AbortedError() };
      held?.reject(new AbortedError());
      touch();
      await done.catch(() => undefined);
    },
  };
}
