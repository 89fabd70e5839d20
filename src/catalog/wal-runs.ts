import { DefectError } from "../errors.ts";
import type { ObjectInfo, Store } from "../stores/store.ts";
import { parseWalKey, type WalKey, walPrefix } from "./layout.ts";
import { parseSegmentName, segmentAt, segmentName } from "./lsn.ts";
import { isOnPath, rootTimeline, type TimelinePath, timelineOfSegment } from "./timelines.ts";
import { readHistory } from "./wal.ts";

/** Whole segments of one timeline without a gap between them. */
interface WalRun {
  readonly timeline: number;
  readonly first: number;
  readonly last: number;
}

/** What WAL a component holds, as runs: its size does not grow with the number of segments. */
export interface WalRuns {
  readonly segmentBytes: number;
  /** By timeline and number. */
  readonly runs: readonly WalRun[];
  readonly histories: ReadonlyMap<number, TimelinePath>;
  /** History files that cannot be read. */
  readonly brokenHistories: readonly DefectError[];
  /** The newest partial of each segment that is not there as a whole, by the segment's name. */
  readonly partials: ReadonlyMap<string, { readonly bytes: number }>;
  /** Segments of which only one of their two objects is there, by name; at most {@link MOST_HALVES}. */
  readonly halves: ReadonlyMap<string, "segment" | "sidecar">;
  readonly objects: number;
  /** As they lie in the store. */
  readonly storedBytes: number;
}

const MOST_HALVES = 10_000;

interface Pieces {
  readonly name: string;
  packed: boolean;
  sidecar: boolean;
  /** The lengths of which the packed part is there, and of which the sidecar. */
  readonly packedParts: Set<number>;
  readonly sidecarParts: Set<number>;
}

/** Lists the WAL once, in the order of keys. `segmentBytes` is the cluster's segment size. */
export async function listRuns(
  store: Store,
  component: string,
  segmentBytes: number,
  signal?: AbortSignal,
): Promise<WalRuns> {
  const runs: WalRun[] = [];
  const histories = new Map<number, TimelinePath>();
  const brokenHistories: DefectError[] = [];
  const partials = new Map<string, { bytes: number }>();
  const halves = new Map<string, "segment" | "sidecar">();
  let objects = 0;
  let storedBytes = 0;
  let pieces: Pieces | undefined;

  function close(): void {
    if (pieces === undefined) return;
    const { name, packed, sidecar, packedParts, sidecarParts } = pieces;
    const parsed = parseSegmentName(name, segmentBytes);
    pieces = undefined;
    if (parsed === undefined) return;
    if (packed && sidecar) {
      const last = runs.at(-1);
      if (last?.timeline === parsed.timeline && last.last === parsed.number - 1) {
        runs[runs.length - 1] = { ...last, last: parsed.number };
      } else runs.push({ timeline: parsed.timeline, first: parsed.number, last: parsed.number });
      return;
    }
    if (packed !== sidecar && halves.size < MOST_HALVES) halves.set(name, packed ? "segment" : "sidecar");
    const longest = Math.max(-1, ...[...packedParts].filter((bytes) => sidecarParts.has(bytes)));
    if (longest >= 0) partials.set(name, { bytes: longest });
  }

  function take(name: Exclude<WalKey, { kind: "history" }>, object: ObjectInfo): void {
    objects += 1;
    storedBytes += object.bytes;
    if (pieces?.name !== name.segment) {
      close();
      const none = {
        packed: false,
        sidecar: false,
        packedParts: new Set<number>(),
        sidecarParts: new Set<number>(),
      };
      pieces = { name: name.segment, ...none };
    }
    if (name.kind === "segment") pieces.packed = true;
    else if (name.kind === "sidecar") pieces.sidecar = true;
    else if (name.kind === "partial") pieces.packedParts.add(name.bytes);
    else pieces.sidecarParts.add(name.bytes);
  }

  for await (const object of store.list(walPrefix(component), signal)) {
    const name = parseWalKey(component, object.key);
    if (name === undefined) continue;
    if (name.kind !== "history") {
      take(name, object);
      continue;
    }
    try {
      histories.set(name.timeline, await readHistory(store, component, name.timeline, signal));
    } catch (error) {
      if (!(error instanceof DefectError)) throw error;
      brokenHistories.push(error);
    }
  }
  close();
  return { segmentBytes, runs, histories, brokenHistories, partials, halves, objects, storedBytes };
}

/** How far an unbroken chain reaches. */
export interface Reached {
  /** Number of its last whole segment; one less than the first when even that is missing. */
  readonly last: number;
  /** Name of the first segment that is not there as a whole. */
  readonly missing: string;
  /** What is there of that segment, when it may end the chain. */
  readonly partial: { readonly segment: string; readonly bytes: number } | undefined;
  readonly path: TimelinePath;
  /** The oldest timeline of the chain. */
  readonly from: number;
}

/** Follows the chain from the segment that holds `position` on `timeline`, to the end of the timeline `target`. */
export function followRuns(inventory: WalRuns, position: bigint, timeline: number, target: number): Reached {
  const { segmentBytes, runs, histories, partials } = inventory;
  const path = histories.get(target) ?? rootTimeline(target);
  let number = segmentAt(position, segmentBytes);
  for (;;) {
    const on = timelineAt(path, number, segmentBytes, timeline);
    const run = runs.find((one) => one.timeline === on && one.first <= number && number <= one.last);
    if (run === undefined) break;
    // A run may go on beyond where the timeline was left.
    let last = run.last;
    if (on !== target) {
      const left = path.ancestors.find((ancestor) => ancestor.timeline === on)?.end ?? 0n;
      last = Math.min(last, segmentAt(left, segmentBytes) - 1);
    }
    number = Math.max(last, number) + 1;
  }
  const missing = segmentName(timelineAt(path, number, segmentBytes, timeline), number, segmentBytes);
  const part =
    timelineAt(path, number, segmentBytes, timeline) === target ? partials.get(missing) : undefined;
  const partial = part && { segment: missing, bytes: part.bytes };
  return { last: number - 1, missing, partial, path, from: timeline };
}

/** On which timeline a segment of the path lies; never before the timeline `from`. */
export function timelineAt(path: TimelinePath, number: number, segmentBytes: number, from: number): number {
  return Math.max(timelineOfSegment(path, number, segmentBytes), from);
}

/** The youngest timeline with WAL that can be reached from a position. */
export function youngestFrom(inventory: WalRuns, position: bigint, timeline: number): number {
  const held = heldTimelines(inventory);
  const reachable = [...inventory.histories.values()]
    .filter((path) => held.has(path.timeline) && isOnPath(path, timeline, position))
    .map((path) => path.timeline);
  return Math.max(timeline, ...reachable);
}

/** Every timeline of which there is WAL. */
export function heldTimelines({ runs, partials }: WalRuns): Set<number> {
  const ofPartials = [...partials.keys()].map((name) => Number.parseInt(name.slice(0, 8), 16));
  return new Set([...runs.map((run) => run.timeline), ...ofPartials]);
}
