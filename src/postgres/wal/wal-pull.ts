import { formatLsn, lsn, segmentBefore, segmentName, segmentStart } from "../../catalog/lsn.ts";
import { timelineOfSegment } from "../../catalog/timelines.ts";
import type { RestorePoint } from "../../catalog/wal.ts";
import type { Context } from "../../context.ts";
import { AbortedError, ToolError } from "../../errors.ts";
import type { Connection } from "../source/connection.ts";
import { WalRemovedError } from "../source/errors.ts";
import type { Slot } from "../source/slot.ts";
import type { ClusterIdentity } from "../source/source-facts.ts";
import type { WalArchive } from "./wal-archive.ts";
import { gapSentence, type Leg, legsFrom, type WalPlan } from "./wal-plan.ts";
import { openWalStream, type WalStream } from "./wal-stream.ts";
import { openWalUploads } from "./wal-uploads.ts";

/** What a pull is told from outside while it runs. */
export interface Goal {
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

/** WAL on its way into the store, from wherever it comes. */
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

/** Starts to copy WAL segments into the store over a replication connection that it has for itself. */
export function startPull(replication: Connection, options: PullOptions, context: Context): Pull {
  const { archive, identity, slot, plan } = options;
  const { walSegmentBytes } = identity;
  let goal: Goal | undefined;
  let stream: WalStream | undefined;
  const uploads = openWalUploads(
    { archive, segmentBytes: walSegmentBytes, first: plan.first, onStored: confirm },
    context,
  );

  function confirm(): void {
    const position = segmentStart(uploads.durable() + 1, walSegmentBytes);
    // The server takes any position, so never ask it to move the slot back.
    if (position > lsn(slot.restartLsn)) stream?.confirm(position);
  }

  function reached(leg: Leg): boolean {
    const last =
      goal === undefined ? leg.last : Math.min(leg.last, segmentBefore(goal.through, walSegmentBytes));
    return uploads.durable() >= last;
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
      uploads.throwIfFailed();
      if (!uploads.hasRoom() || number > leg.last) {
        await uploads.changed();
        continue;
      }
      next ??= stream.next();
      // It may fail after the loop has been left.
      next.catch(() => undefined);
      const pending = next;
      const again = Symbol("again");
      const content = await Promise.race([pending, uploads.changed().then(() => again)]);
      if (typeof content === "symbol") continue;
      next = undefined;
      if (content === undefined) {
        throw new ToolError(
          `The server ended timeline ${leg.timeline} before ${formatLsn(segmentStart(number + 1, walSegmentBytes))}: it was promoted or restarted, so run the action again.`,
        );
      }
      uploads.add(leg.timeline, number, content);
      number += 1;
    }
    uploads.throwIfFailed();
    // One last time, after the last upload: the end of the copy follows it on the wire.
    confirm();
    await stream.end();
  }

  async function pullFrom(first: number): Promise<void> {
    uploads.startAt(first);
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
        if (options.kind === "wal" || plan.freshFirst <= plan.first) {
          throw new ToolError(`${gap}. Take a full backup, which begins a new chain.`);
        }
        context.log.warning(`${gap}. This backup begins a new chain; times in the gap cannot be recovered.`);
        stream?.dispose();
        await pullFrom(plan.freshFirst);
      });
      return { ...uploads.totals(), lastSegment: segmentOnPath(plan, uploads.durable(), walSegmentBytes) };
    } finally {
      stream?.dispose();
      await uploads.settle();
    }
  }

  const done = run();
  // Whoever waits for it sees the failure; until then it must not end the process.
  done.catch(() => undefined);
  return {
    hold: () => uploads.hold(),
    finish(reachedGoal): void {
      goal = reachedGoal;
      uploads.release(goal.point);
    },
    done,
    async stop(): Promise<void> {
      uploads.fail(new AbortedError());
      await done.catch(() => undefined);
    },
  };
}

/** The name of segment `number` on the server's timelines. */
export function segmentOnPath(plan: WalPlan, number: number, segmentBytes: number): string {
  return segmentName(timelineOfSegment(plan.path, number, segmentBytes), number, segmentBytes);
}
