import { setTimeout as sleep } from "node:timers/promises";
import { lsn, parseSegmentName, segmentBefore } from "../../catalog/lsn.ts";
import { parseHistory, timelineOfSegment } from "../../catalog/timelines.ts";
import type { RestorePoint } from "../../catalog/wal.ts";
import type { Context } from "../../context.ts";
import { AbortedError, ToolError } from "../../errors.ts";
import { formatDuration } from "../../values.ts";
import type { ClusterIdentity } from "../source/source-facts.ts";
import type { ArchiveFolder } from "./archive-folder.ts";
import { archiveHistory, type WalArchive } from "./wal-archive.ts";
import { openWalPartials } from "./wal-partials.ts";
import type { WalPlan } from "./wal-plan.ts";
import { type Goal, type Marked, markedBy, type Pull, type PullResult, segmentOnPath } from "./wal-pull.ts";
import { openWalUploads } from "./wal-uploads.ts";

export interface FolderPullOptions {
  readonly archive: WalArchive;
  readonly folder: ArchiveFolder;
  readonly identity: ClusterIdentity;
  readonly plan: WalPlan;
  /** `wal`: a gap in the chain is an error. `full`: it is a warning, and the chain begins anew. */
  readonly kind: "full" | "wal";
  /** What the server says of its archiving, for the sentence when nothing arrives. */
  readonly explain: () => Promise<string>;
  /** How long the folder may bring nothing new of what the run needs. */
  readonly patienceMs?: number;
  /** How long a segment may be absent although later ones are there. */
  readonly gapMs?: number;
}

const LOOK_EVERY_MS = 250;
/** A server whose `archive_command` failed tries again after a minute. */
const PATIENCE_MS = 5 * 60_000;
/** Archivers that work in parallel finish segments in any order. */
const GAP_MS = 5_000;

/** Starts to copy WAL segments from a folder into the store, in order, as they appear. */
export function startFolderPull(options: FolderPullOptions, context: Context): Pull {
  const { archive, folder, identity, plan, patienceMs = PATIENCE_MS, gapMs = GAP_MS } = options;
  const { walSegmentBytes } = identity;
  const partials = openWalPartials(archive, plan.inventory, context);
  const uploads = openWalUploads(
    { archive, partials, segmentBytes: walSegmentBytes, first: plan.first },
    context,
  );
  const stopped = new AbortController();
  const signal = AbortSignal.any([context.signal, stopped.signal]);
  let goal: Goal | undefined;
  /** Number of the last segment that the server was asked to complete. */
  let asked = Number.NEGATIVE_INFINITY;
  let number = plan.first;
  let lastProgress = performance.now();

  function last(): number {
    return goal === undefined ? Number.POSITIVE_INFINITY : segmentBefore(goal.through, walSegmentBytes);
  }

  async function look(): Promise<void> {
    await Promise.race([uploads.changed(), sleep(LOOK_EVERY_MS, undefined, { signal })]).catch(
      () => undefined,
    );
  }

  /** Whether the folder holds a later segment of the chain, so that this one will not come. */
  async function laterIsThere(): Promise<boolean> {
    const names = await folder.segmentNames();
    return names.some((name) => {
      const found = parseSegmentName(name, walSegmentBytes);
      if (found === undefined || found.number <= number) return false;
      return found.timeline === timelineOfSegment(plan.path, found.number, walSegmentBytes);
    });
  }

  function passGap(missing: string): void {
    const gap = `The WAL archive of "${archive.component}" ends before segment ${segmentOnPath(plan, number, walSegmentBytes)}, and ${folder.path} does not have it although it has later ones (${missing})`;
    if (options.kind === "wal" || plan.freshFirst <= number) {
      throw new ToolError(`${gap}. Take a full backup, which begins a new chain.`);
    }
    context.log.warning(`${gap}. This backup begins a new chain; times in the gap cannot be recovered.`);
    number = plan.freshFirst;
    uploads.startAt(number);
    lastProgress = performance.now();
  }

  async function waitFor(missing: string): Promise<void> {
    const waited = performance.now() - lastProgress;
    if (waited > gapMs && (await laterIsThere())) return passGap(missing);
    if ((goal !== undefined || number <= asked) && waited > patienceMs) {
      const name = segmentOnPath(plan, number, walSegmentBytes);
      throw new ToolError(
        `The server did not archive segment ${name} into ${folder.path} within ${formatDuration(patienceMs / 1000)}: ${missing}. ${await options.explain()}`,
      );
    }
    await look();
  }

  async function storeHistories(): Promise<void> {
    for (const { timeline } of [...plan.path.ancestors, plan.path]) {
      if (timeline === 1) continue;
      let found = await folder.history(timeline);
      if (!("content" in found)) {
        // A new file counts at the second look.
        await look();
        found = await folder.history(timeline);
      }
      if (!("content" in found)) continue;
      const text = found.content.toString("utf8");
      if (parseHistory(timeline, text) !== undefined) await archiveHistory(archive, timeline, text, context);
    }
  }

  async function run(): Promise<PullResult> {
    try {
      await partials.tidy();
      await storeHistories();
      while (uploads.durable() < last()) {
        uploads.throwIfFailed();
        if (!uploads.hasRoom() || number > last()) {
          await look();
          continue;
        }
        const found = await folder.segment(segmentOnPath(plan, number, walSegmentBytes));
        if (!("content" in found)) {
          await waitFor(found.missing);
          continue;
        }
        uploads.add(timelineOfSegment(plan.path, number, walSegmentBytes), number, found.content);
        number += 1;
        lastProgress = performance.now();
      }
      uploads.throwIfFailed();
      return { ...uploads.totals(), lastSegment: segmentOnPath(plan, uploads.durable(), walSegmentBytes) };
    } catch (error) {
      uploads.fail(error);
      throw error;
    } finally {
      stopped.abort();
      await uploads.settle();
    }
  }

  async function mark(point: RestorePoint): Promise<Marked> {
    asked = segmentBefore(lsn(point.lsn), walSegmentBytes);
    lastProgress = performance.now();
    uploads.release(point);
    while (uploads.durable() < asked) {
      uploads.throwIfFailed();
      await uploads.changed();
    }
    return markedBy(uploads, plan, walSegmentBytes, null);
  }

  const done = run();
  // Whoever waits for it sees the failure; until then it must not end the process.
  done.catch(() => undefined);
  return {
    shipsPartials: false,
    hold: () => uploads.hold(),
    mark,
    finish(reachedGoal): void {
      goal = reachedGoal;
      // The server archives only now what the run waits for.
      lastProgress = performance.now();
      uploads.release(goal.point);
    },
    done,
    async stop(): Promise<void> {
      uploads.fail(new AbortedError());
      await done.catch(() => undefined);
    },
  };
}
