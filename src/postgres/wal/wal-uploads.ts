import { lsn, segmentBefore, segmentName } from "../../catalog/lsn.ts";
import type { RestorePoint } from "../../catalog/wal.ts";
import type { Context } from "../../context.ts";
import { AbortedError, ToolError } from "../../errors.ts";
import { startProgress } from "../../progress.ts";
import { release } from "../../release.ts";
import { holdsPoint } from "./restore-points.ts";
import { archiveSegment, type WalArchive } from "./wal-archive.ts";
import type { WalPartials } from "./wal-partials.ts";

/** Memory of segments that are being uploaded. */
const IN_FLIGHT_BYTES = 32 * 2 ** 20;

/** Puts whole segments into the store, several at a time, and knows how far the unbroken run of them reaches. */
export interface WalUploads {
  /** Takes a whole segment; wait for room first. */
  add(timeline: number, number: number, content: Buffer): void;
  /** Whether memory allows another segment. */
  hasRoom(): boolean;
  /** Settles at the next change: an upload ended, or {@link touch} was called. */
  changed(): Promise<void>;
  touch(): void;
  /** Number of the last segment of the unbroken run. */
  durable(): number;
  /** Begins a new run, after a gap. */
  startAt(first: number): void;
  /** Segments wait from here on, because one of them may hold a point that is being made. */
  hold(): void;
  /** Lets them go on; the point is recorded with the segment that holds it. */
  release(point: RestorePoint | undefined): void;
  /** Makes everything that waits fail. */
  fail(error: unknown): void;
  throwIfFailed(): void;
  /** Waits for what is under way, however it ends. */
  settle(): Promise<void>;
  /** Bytes of a partial were written. */
  count(written: number): void;
  /** Segments and bytes so far, and the number of the segment with which a new run began after a gap. */
  totals(): { readonly segments: number; readonly bytes: number; readonly newChain: number | undefined };
}

export interface WalUploadsOptions {
  readonly archive: WalArchive;
  /** Parts of the same segments. */
  readonly partials: WalPartials;
  readonly segmentBytes: number;
  /** Number of the first segment of the run. */
  readonly first: number;
  /** Called after a segment, with the number of the last of the unbroken run. */
  readonly onStored?: (name: string, durable: number) => void | Promise<void>;
}

function pointElsewhere(point: RestorePoint): ToolError {
  return new ToolError(
    `The WAL that arrived does not hold the restore point ${point.name} that was made at ${point.lsn}: the server that writes and the one that the WAL comes from went separate ways, so look at connection, primary and the archive's folder.`,
  );
}

export function openWalUploads(options: WalUploadsOptions, context: Context): WalUploads {
  const { archive, partials, segmentBytes } = options;
  const most = Math.max(1, Math.min(4, Math.floor(IN_FLIGHT_BYTES / segmentBytes)));
  const progress = startProgress(context, "WAL");
  const uploads = new Set<Promise<void>>();
  const stored = new Set<number>();
  const points = new Map<number, RestorePoint>();
  let held: PromiseWithResolvers<void> | undefined;
  let failure: { readonly error: unknown } | undefined;
  let durable = options.first - 1;
  /** Number of the last segment that went on its way, and so cannot hold a point that is still to come. */
  let passed = durable;
  let segments = 0;
  let bytes = 0;
  let newChain: number | undefined;
  let change = Promise.withResolvers<void>();

  function touch(): void {
    change.resolve();
    change = Promise.withResolvers<void>();
  }

  function fail(error: unknown): void {
    failure ??= { error };
    held?.reject(error);
    touch();
  }

  async function upload(timeline: number, number: number, content: Buffer): Promise<void> {
    await held?.promise;
    passed = Math.max(passed, number);
    const name = segmentName(timeline, number, segmentBytes);
    const point = points.get(number);
    if (point !== undefined && !holdsPoint(content, point)) throw pointElsewhere(point);
    // A partial of it reads from the same memory.
    await partials.idle(name);
    const earlier = await partials.pointIn(name, content);
    bytes += await archiveSegment(archive, name, content, point ?? earlier, context);
    progress.add(content.length);
    release(content);
    segments += 1;
    stored.add(number);
    // Uploads end in any order, but only an unbroken run is safe.
    while (stored.delete(durable + 1)) durable += 1;
    await options.onStored?.(name, durable);
    await partials.drop(name);
  }

  return {
    add(timeline, number, content) {
      const task: Promise<void> = upload(timeline, number, content)
        .catch((error: unknown) => {
          failure ??= { error };
        })
        .finally(() => {
          uploads.delete(task);
          touch();
        });
      uploads.add(task);
    },
    hasRoom: () => uploads.size < most,
    changed: () => change.promise,
    touch,
    durable: () => durable,
    startAt(first) {
      if (first !== options.first) newChain = first;
      durable = first - 1;
      passed = durable;
    },
    hold() {
      held ??= Promise.withResolvers();
      held.promise.catch(() => undefined);
    },
    release(point) {
      if (point !== undefined) {
        const number = segmentBefore(lsn(point.lsn), segmentBytes);
        if (number <= passed) fail(pointElsewhere(point));
        points.set(number, point);
      }
      held?.resolve();
      held = undefined;
      touch();
    },
    fail,
    throwIfFailed() {
      if (context.signal.aborted) throw new AbortedError();
      if (failure !== undefined) throw failure.error;
    },
    async settle() {
      held?.reject(new AbortedError());
      await Promise.allSettled(uploads);
    },
    count(written) {
      bytes += written;
    },
    totals: () => ({ segments, bytes, newChain }),
  };
}
