import { z } from "zod";
import { DefectError } from "../errors.ts";
import { readAll, type Store } from "../stores/store.ts";
import { readDocument } from "./documents.ts";
import { historyKey, parseWalKey, sidecarKey, walPrefix } from "./layout.ts";
import { parseSegmentName, segmentAt, segmentName } from "./lsn.ts";
import { isOnPath, parseHistory, rootTimeline, type TimelinePath, timelineOfSegment } from "./timelines.ts";

/** A restore point in the WAL, in `pg_create_restore_point`'s sense. */
const namedPoint = z.object({
  name: z.string(),
  /** End of the restore point's record, such as `0/3000168`. */
  lsn: z.string(),
  /** When it was made; RFC 3339 in UTC with microseconds, the server's clock. */
  time: z.string(),
});
export type NamedPoint = z.infer<typeof namedPoint>;

/** The named point at the end of a run. */
export const restorePoint = namedPoint.extend({
  /** Every commit up to this time lies before the point; a little earlier than the point itself. */
  time: z.string(),
  /** Which transactions had ended by then, as `pg_current_snapshot()` spells it; absent where it was not asked for. */
  snapshot: z.string().optional(),
});
export type RestorePoint = z.infer<typeof restorePoint>;

/** `<segment>.json`: created before the segment and never changed, so two runs cannot disagree on its content. */
const walSidecar = z.object({
  schema: z.literal("drillbook/wal-segment/v1"),
  segment: z.string(),
  systemIdentifier: z.string(),
  /** SHA-256 in hex of the segment as the server has it, before compression. */
  sha256: z.string(),
  /** Bytes before compression: the cluster's segment size. */
  bytes: z.number(),
  archivedAt: z.string(),
  /** The end of a run, when it lies in this segment. */
  restorePoint: restorePoint.optional(),
  /** All restore points whose records lie in this segment, in order, whoever made them; absent when there is none. */
  restorePoints: z.array(namedPoint).optional(),
});
export type WalSidecar = z.infer<typeof walSidecar>;

/** A segment that counts: it and its sidecar are both in the store. */
export interface WalSegment {
  /** Its 24 hex digits. */
  readonly name: string;
  readonly timeline: number;
  readonly number: number;
  /** Key of the packed segment. */
  readonly key: string;
  readonly sealed: boolean;
  readonly storedBytes: number;
  readonly modified: Date;
}

/** What WAL a component holds. */
export interface WalInventory {
  readonly segmentBytes: number;
  /** By name. */
  readonly segments: ReadonlyMap<string, WalSegment>;
  /** Timelines that grew out of another, by their history files. */
  readonly histories: ReadonlyMap<number, TimelinePath>;
  /** Names of segments of which only the segment or only the sidecar exists: an unfinished upload. */
  readonly unfinished: readonly string[];
}

/**
 * Lists a component's WAL. `segmentBytes` is the cluster's segment size, as the backup's details say. Names that
 * are not ours are ignored; a history file that cannot be read is a {@link DefectError}.
 */
export async function listSegments(
  store: Store,
  component: string,
  segmentBytes: number,
  signal?: AbortSignal,
): Promise<WalInventory> {
  const packed = new Map<string, WalSegment>();
  const sidecars = new Set<string>();
  const histories = new Map<number, TimelinePath>();
  for await (const object of store.list(walPrefix(component), signal)) {
    const name = parseWalKey(component, object.key);
    if (name?.kind === "sidecar") sidecars.add(name.segment);
    if (name?.kind === "history") {
      histories.set(name.timeline, await readHistory(store, component, name.timeline, signal));
    }
    if (name?.kind !== "segment") continue;
    const parsed = parseSegmentName(name.segment, segmentBytes);
    if (parsed === undefined) continue;
    packed.set(name.segment, {
      ...parsed,
      name: name.segment,
      key: object.key,
      sealed: name.sealed,
      storedBytes: object.bytes,
      modified: object.modified,
    });
  }
  const segments = new Map([...packed].filter(([name]) => sidecars.has(name)));
  const unfinished = [...new Set([...packed.keys(), ...sidecars])].filter((name) => !segments.has(name));
  return { segmentBytes, segments, histories, unfinished };
}

/** A timeline's history file from the store. */
async function readHistory(
  store: Store,
  component: string,
  timeline: number,
  signal?: AbortSignal,
): Promise<TimelinePath> {
  const key = historyKey(component, timeline);
  const text = (await readAll(await store.get(key, { signal }))).toString("utf8");
  const path = parseHistory(timeline, text);
  if (path !== undefined) return path;
  const subject = store.describe(key);
  throw new DefectError(subject, `${subject} is not a timeline history file: it is damaged.`);
}

/**
 * The unbroken run of segments from the one that holds `position` on `timeline` to the last before the first gap.
 * With a `target` timeline that grew out of `timeline`, the run follows its history. Empty when the first segment is
 * absent or the target did not grow out of that position.
 */
export function chainFrom(
  inventory: WalInventory,
  position: bigint,
  timeline: number,
  target: number = timeline,
): WalSegment[] {
  const path = pathOf(inventory, target);
  if (target !== timeline && !isOnPath(path, timeline, position)) return [];
  const chain: WalSegment[] = [];
  for (let number = segmentAt(position, inventory.segmentBytes); ; number += 1) {
    const segment = inventory.segments.get(nameOnPath(inventory, path, number, timeline));
    if (segment === undefined) return chain;
    chain.push(segment);
  }
}

/** The name of the segment that a chain lacks after its last: the gap, or where the archive ends. */
export function missingAfter(
  inventory: WalInventory,
  position: bigint,
  timeline: number,
  target: number = timeline,
): string {
  const chain = chainFrom(inventory, position, timeline, target);
  const next = chain.at(-1)?.number ?? segmentAt(position, inventory.segmentBytes) - 1;
  return nameOnPath(inventory, pathOf(inventory, target), next + 1, timeline);
}

/** The timelines that recovery from `position` on `timeline` can follow, itself included, in ascending order. */
export function timelinesFrom(inventory: WalInventory, position: bigint, timeline: number): number[] {
  const children = [...inventory.histories.values()]
    .filter((path) => path.timeline !== timeline && isOnPath(path, timeline, position))
    .map((path) => path.timeline);
  return [timeline, ...children].sort((a, b) => a - b);
}

function pathOf(inventory: WalInventory, timeline: number): TimelinePath {
  return inventory.histories.get(timeline) ?? rootTimeline(timeline);
}

function nameOnPath(inventory: WalInventory, path: TimelinePath, number: number, from: number): string {
  // A backup may begin in the very segment in which its timeline began: never look before its own timeline.
  const timeline = Math.max(timelineOfSegment(path, number, inventory.segmentBytes), from);
  return segmentName(timeline, number, inventory.segmentBytes);
}

/** A segment's sidecar. Throws {@link ObjectMissing} when it is absent, a {@link DefectError} when it is damaged. */
export async function readSidecar(
  store: Store,
  component: string,
  segment: string,
  signal?: AbortSignal,
): Promise<WalSidecar> {
  const key = sidecarKey(component, segment);
  const sidecar = await readDocument(store, key, walSidecar, signal);
  if (sidecar.segment === segment) return sidecar;
  const subject = store.describe(key);
  throw new DefectError(
    subject,
    `${subject} describes the segment ${sidecar.segment}: it was copied or renamed.`,
  );
}

/** Sidecars are read this many at a time when the newest restore point is looked for. */
const LOOK_BACK = 16;

/** The newest restore point in a chain of segments and the segment that holds it; undefined when there is none. */
export async function newestRestorePoint(
  store: Store,
  component: string,
  chain: readonly WalSegment[],
  signal?: AbortSignal,
): Promise<{ readonly point: RestorePoint; readonly segment: WalSegment } | undefined> {
  // The first look is at the last segment alone: that is where a run ends.
  for (let end = chain.length, step = 1; end > 0; end -= step, step = LOOK_BACK) {
    const batch = chain.slice(Math.max(0, end - step), end).reverse();
    const sidecars = await Promise.all(
      batch.map(async (segment) => ({
        segment,
        sidecar: await readSidecar(store, component, segment.name, signal),
      })),
    );
    for (const { segment, sidecar } of sidecars) {
      if (sidecar.restorePoint !== undefined) return { point: sidecar.restorePoint, segment };
    }
  }
  return undefined;
}
