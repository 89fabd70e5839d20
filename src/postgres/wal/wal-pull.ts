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
import { openWalPartials } from "./wal-partials.ts";
import { gapSentence, type Leg, legsFrom, type WalPlan } from "./wal-plan.ts";
import { openWalStream, type WalStream } from "./wal-stream.ts";
import { openWalUploads, type WalUploads } from "./wal-uploads.ts";

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
  /** Number of the segment with which a new chain began, because WAL before it was gone; undefined without a gap. */
  readonly newChain?: number | undefined;
}

/** What the store holds once a point of a run that goes on is recoverable. */
export interface Marked {
  /** Whole segments and bytes written so far. */
  readonly segments: number;
  readonly bytes: number;
  /** Name of the last whole segment of the chain; null when there is none yet. */
  readonly lastSegment: string | null;
  /** The part of the next one that was shipped; null when the point needs none. */
  readonly partial: { readonly segment: string; readonly bytes: number } | null;
}

/** WAL on its way into the store, from wherever it comes. */
export interface Pull {
  /** Whether {@link Pull.mark} can ship a segment that is not complete; else it waits for the whole segment. */
  readonly shipsPartials: boolean;
  /**
   * To be called before a restore point is made: segments wait for {@link Pull.mark} or {@link Pull.finish}, which name
   * the point.
   */
  hold(): void;
  /** Makes a point recoverable while the pull goes on. Throws when the pull failed. */
  mark(point: RestorePoint): Promise<Marked>;
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
  /** A better error than the stream's own, when the server gave the slot up. */
  readonly explainLoss: () => Promise<Error | undefined>;
}

/** Starts to copy WAL segments into the store over a replication connection that it has for itself. */
export function startPull(replication: Connection, options: PullOptions, context: Context): Pull {
  const { archive, identity, slot, plan } = options;
  const { walSegmentBytes } = identity;
  let goal: Goal | undefined;
  let stream: WalStream | undefined;
  /** The point that somebody waits for; WAL that does not reach it wakes nobody. */
  let awaited: bigint | undefined;
  const partials = openWalPartials(archive, plan.inventory, context);
  const uploads = openWalUploads(
    { archive, partials, segmentBytes: walSegmentBytes, first: plan.first, onStored: confirm },
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
      onReceived(position) {
        if (awaited === undefined || position < awaited) return;
        awaited = undefined;
        uploads.touch();
      },
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
      await partials.tidy();
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
    } catch (error) {
      const better = context.signal.aborted ? undefined : await options.explainLoss();
      uploads.fail(better ?? error);
      throw better ?? error;
    } finally {
      stream?.dispose();
      await uploads.settle();
    }
  }

  async function mark(point: RestorePoint): Promise<Marked> {
    const through = lsn(point.lsn);
    const number = segmentBefore(through, walSegmentBytes);
    awaited = through;
    uploads.release(point);
    for (;;) {
      uploads.throwIfFailed();
      if (uploads.durable() >= number) return markedBy(uploads, plan, walSegmentBytes, null);
      const unfinished = uploads.durable() === number - 1 ? stream?.unfinished() : undefined;
      const end = segmentStart(number, walSegmentBytes) + BigInt(unfinished?.content.length ?? 0);
      if (unfinished?.number === number && end >= through) {
        const segment = segmentOnPath(plan, number, walSegmentBytes);
        const { content } = unfinished;
        // Begun before anything else can happen to that memory.
        uploads.count(await partials.ship(segment, content, point));
        return markedBy(uploads, plan, walSegmentBytes, { segment, bytes: content.length });
      }
      await uploads.changed();
    }
  }

  const done = run();
  // Whoever waits for it sees the failure; until then it must not end the process.
  done.catch(() => undefined);
  return {
    shipsPartials: true,
    hold: () => uploads.hold(),
    mark,
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

/** What is in the store now. A segment that has become whole in the meantime needs no partial. */
export function markedBy(
  uploads: WalUploads,
  plan: WalPlan,
  segmentBytes: number,
  partial: Marked["partial"],
): Marked {
  const durable = uploads.durable();
  const last = durable < plan.first ? (plan.last ?? null) : segmentOnPath(plan, durable, segmentBytes);
  return {
    ...uploads.totals(),
    lastSegment: last,
    partial: partial !== null && partial.segment === last ? null : partial,
  };
}

/** The name of segment `number` on the server's timelines. */
export function segmentOnPath(plan: WalPlan, number: number, segmentBytes: number): string {
  return segmentName(timelineOfSegment(plan.path, number, segmentBytes), number, segmentBytes);
}
