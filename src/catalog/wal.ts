import { z } from "zod";
import { DefectError } from "../errors.ts";
import { type ObjectInfo, readAll, type Store } from "../stores/store.ts";
import { readDocument } from "./documents.ts";
import {
  historyKey,
  parseWalKey,
  partialSidecarKey,
  segmentPrefix,
  sidecarKey,
  type WalKey,
  walPrefix,
} from "./layout.ts";
import { parseSegmentName, segmentAt, segmentName, segmentStart } from "./lsn.ts";
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

const sidecarFields = {
  segment: z.string(),
  systemIdentifier: z.string(),
  /** SHA-256 in hex of the bytes as the server has them, before compression. */
  sha256: z.string(),
  /** Bytes before compression: the cluster's segment size, or the length of a partial. */
  bytes: z.number(),
  archivedAt: z.string(),
  /** The newest point of a run in these bytes. */
  restorePoint: restorePoint.optional(),
  /** All restore points whose records lie in these bytes, in order, whoever made them; absent when there is none. */
  restorePoints: z.array(namedPoint).optional(),
};

/** `<segment>.json`: created before the segment and never changed, so two runs cannot disagree on its content. */
const walSidecar = z.object({ schema: z.literal("drillbook/wal-segment/v1"), ...sidecarFields });
/** `<segment>.<bytes>.partial.json`, by the same rules. */
const partialSidecar = z.object({ schema: z.literal("drillbook/wal-partial/v1"), ...sidecarFields });
export type WalSidecar = z.infer<typeof walSidecar> | z.infer<typeof partialSidecar>;

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
  /** Only its first bytes are here, because the server had not completed it; undefined for a whole segment. */
  readonly partial?: { readonly bytes: number };
}

/** What there is of a segment in partials. */
interface Partials {
  /** The longest that counts. */
  readonly newest: WalSegment | undefined;
  /** Every object of a partial, whether it counts or not. */
  readonly keys: readonly string[];
}

/** What WAL a component holds. */
export interface WalInventory {
  readonly segmentBytes: number;
  /** Whole segments by name. */
  readonly segments: ReadonlyMap<string, WalSegment>;
  /** By the segment's name, also where the whole segment is there too. */
  readonly partials: ReadonlyMap<string, Partials>;
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
  return await listBelow(store, component, walPrefix(component), segmentBytes, signal);
}

/** What the store holds now of one segment: the whole, else its longest partial. */
export async function findSegment(
  store: Store,
  component: string,
  segment: string,
  segmentBytes: number,
  signal?: AbortSignal,
): Promise<WalSegment | undefined> {
  const prefix = segmentPrefix(component, segment);
  const { segments, partials } = await listBelow(store, component, prefix, segmentBytes, signal);
  return segments.get(segment) ?? partials.get(segment)?.newest;
}

async function listBelow(
  store: Store,
  component: string,
  prefix: string,
  segmentBytes: number,
  signal: AbortSignal | undefined,
): Promise<WalInventory> {
  const packed = new Map<string, WalSegment>();
  const sidecars = new Set<string>();
  const partials = new Map<string, { pieces: WalSegment[]; keys: string[] }>();
  const histories = new Map<number, TimelinePath>();

  function take(name: Exclude<WalKey, { kind: "history" }>, object: ObjectInfo): void {
    const parsed = parseSegmentName(name.segment, segmentBytes);
    if (parsed === undefined || ("bytes" in name && name.bytes > segmentBytes)) return;
    if (name.kind === "sidecar" || name.kind === "partial-sidecar") sidecars.add(object.key);
    if (name.kind === "partial" || name.kind === "partial-sidecar") {
      const known = partials.get(name.segment) ?? { pieces: [], keys: [] };
      known.keys.push(object.key);
      partials.set(name.segment, known);
    }
    if (name.kind === "sidecar" || name.kind === "partial-sidecar") return;
    const { key, bytes: storedBytes, modified } = object;
    const segment = { ...parsed, name: name.segment, key, sealed: name.sealed, storedBytes, modified };
    if (name.kind === "segment") packed.set(name.segment, segment);
    else partials.get(name.segment)?.pieces.push({ ...segment, partial: { bytes: name.bytes } });
  }

  for await (const object of store.list(prefix, signal)) {
    const name = parseWalKey(component, object.key);
    if (name?.kind === "history") {
      histories.set(name.timeline, await readHistory(store, component, name.timeline, signal));
    } else if (name !== undefined) take(name, object);
  }
  const counts = (segment: WalSegment) => sidecars.has(sidecarKeyOf(component, segment));
  const segments = new Map([...packed].filter(([, segment]) => counts(segment)));
  const names = [...sidecars]
    .map((key) => parseWalKey(component, key))
    .filter((name) => name?.kind === "sidecar");
  const unfinished = [...new Set([...packed.keys(), ...names.map((name) => name.segment)])].filter(
    (name) => !segments.has(name),
  );
  return {
    segmentBytes,
    segments,
    // Keys come in order, so the longest is the last.
    partials: new Map(
      [...partials].map(([name, { pieces, keys }]) => [name, { newest: pieces.findLast(counts), keys }]),
    ),
    histories,
    unfinished,
  };
}

/** A timeline's history file from the store. Throws {@link ObjectMissing} when it is absent. */
export async function readHistory(
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
 * With a `target` timeline that grew out of `timeline`, the run follows its history. The last one may be partial, but
 * only on the target timeline: a partial of an older one may hold WAL that the younger does not share. Empty when the
 * first segment is absent or the target did not grow out of that position.
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
    const name = nameOnPath(inventory, path, number, timeline);
    const segment = inventory.segments.get(name);
    const partial = inventory.partials.get(name)?.newest;
    if (segment === undefined) return partial?.timeline === target ? [...chain, partial] : chain;
    chain.push(segment);
  }
}

/** The whole segments of a chain: what is archived for ever. */
export function wholeSegments(chain: readonly WalSegment[]): WalSegment[] {
  return chain.filter((segment) => segment.partial === undefined);
}

/** Where the WAL of a chain ends; 0 when it is empty. */
export function chainEnd(chain: readonly WalSegment[], segmentBytes: number): bigint {
  const last = chain.at(-1);
  if (last === undefined) return 0n;
  return segmentStart(last.number, segmentBytes) + BigInt(last.partial?.bytes ?? segmentBytes);
}

/** The name of the segment that a chain lacks after its last whole one: the gap, or where the archive ends. */
export function missingAfter(
  inventory: WalInventory,
  position: bigint,
  timeline: number,
  target: number = timeline,
): string {
  const chain = wholeSegments(chainFrom(inventory, position, timeline, target));
  const next = chain.at(-1)?.number ?? segmentAt(position, inventory.segmentBytes) - 1;
  return nameOnPath(inventory, pathOf(inventory, target), next + 1, timeline);
}

/** Every segment that counts, whole or partial. */
export function allSegments({ segments, partials }: WalInventory): WalSegment[] {
  const newest = [...partials.values()].map((one) => one.newest).filter((one) => one !== undefined);
  return [...segments.values(), ...newest];
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

/** Where the sidecar of a segment or of a partial lies. */
export function sidecarKeyOf(
  component: string,
  { name, partial }: Pick<WalSegment, "name" | "partial">,
): string {
  return partial === undefined
    ? sidecarKey(component, name)
    : partialSidecarKey(component, name, partial.bytes);
}

/** A whole segment's sidecar, by its name; else as {@link readSidecarOf}. */
export async function readSidecar(
  store: Store,
  component: string,
  segment: string,
  signal?: AbortSignal,
): Promise<WalSidecar> {
  return await readSidecarOf(store, component, { name: segment }, signal);
}

/**
 * The sidecar of a segment or of a partial. Throws {@link ObjectMissing} when it is absent, a {@link DefectError} when it
 * is damaged or another's.
 */
export async function readSidecarOf(
  store: Store,
  component: string,
  segment: Pick<WalSegment, "name" | "partial">,
  signal?: AbortSignal,
): Promise<WalSidecar> {
  const key = sidecarKeyOf(component, segment);
  const { name, partial } = segment;
  const sidecar = await readDocument<WalSidecar>(store, key, partial ? partialSidecar : walSidecar, signal);
  const subject = store.describe(key);
  if (sidecar.segment !== name) {
    throw new DefectError(
      subject,
      `${subject} describes the segment ${sidecar.segment}: it was copied or renamed.`,
    );
  }
  if (partial === undefined || sidecar.bytes === partial.bytes) return sidecar;
  throw new DefectError(
    subject,
    `${subject} describes ${sidecar.bytes} bytes of the segment, but its name says ${partial.bytes}: it was copied or renamed.`,
  );
}

/** Sidecars are read this many at a time when the newest restore point is looked for. */
const LOOK_BACK = 16;

/** The newest restore point in a chain of segments and the segment that holds it; undefined when there is none. */
export async function newestRestorePoint<Segment extends Pick<WalSegment, "name" | "partial">>(
  store: Store,
  component: string,
  chain: readonly Segment[],
  signal?: AbortSignal,
): Promise<{ readonly point: RestorePoint; readonly segment: Segment } | undefined> {
  // The first look is at the last segment alone: that is where a run ends.
  for (let end = chain.length, step = 1; end > 0; end -= step, step = LOOK_BACK) {
    const batch = chain.slice(Math.max(0, end - step), end).reverse();
    const sidecars = await Promise.all(
      batch.map(async (segment) => ({
        segment,
        sidecar: await readSidecarOf(store, component, segment, signal),
      })),
    );
    for (const { segment, sidecar } of sidecars) {
      if (sidecar.restorePoint !== undefined) return { point: sidecar.restorePoint, segment };
    }
  }
  return undefined;
}
