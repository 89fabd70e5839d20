import { ObjectMissing, type Store } from "../stores/store.ts";
import type { Heartbeat } from "./heartbeat.ts";
import { segmentKey } from "./layout.ts";
import { parseSegmentName } from "./lsn.ts";
import { missingAfter, readHistory, sidecarKeyOf, type WalInventory, type WalSegment } from "./wal.ts";

/*
 * Some stores list an object only some time after it was written, and all of them answer at once when it is asked for by its
 * name. So what a listing lacks is missing only when its name is not known either.
 */

/** Where a chain of segments begins, and the timeline that it follows. */
export interface ChainStart {
  readonly position: bigint;
  readonly timeline: number;
  readonly target?: number | undefined;
}

/**
 * The inventory with the whole segments that lie in the store behind the end of a chain, although the listing did not show
 * them. Asks for one name when there are none.
 */
export async function withUnlisted(
  store: Store,
  component: string,
  inventory: WalInventory,
  { position, timeline, target }: ChainStart,
  signal?: AbortSignal,
): Promise<WalInventory> {
  let known = inventory;
  for (;;) {
    const name = missingAfter(known, position, timeline, target);
    const found = await lookUpSegment(store, component, name, known.segmentBytes, signal);
    if (found === undefined) return known;
    known = withSegment(known, found);
  }
}

/** The inventory with what a heartbeat names: its segment and the history of its timeline. */
export async function withPromised(
  store: Store,
  component: string,
  inventory: WalInventory,
  beat: Heartbeat | undefined,
  signal?: AbortSignal,
): Promise<WalInventory> {
  const { segmentBytes } = inventory;
  const last = beat?.lastSegment == null ? undefined : parseSegmentName(beat.lastSegment, segmentBytes);
  if (beat?.lastSegment == null || last === undefined) return inventory;
  let known = inventory;
  if (last.timeline > 1 && !known.histories.has(last.timeline)) {
    const path = await readHistory(store, component, last.timeline, signal).catch(absent);
    if (path !== undefined) {
      known = { ...known, histories: new Map([...known.histories, [last.timeline, path]]) };
    }
  }
  if (known.segments.has(beat.lastSegment)) return known;
  const found = await lookUpSegment(store, component, beat.lastSegment, segmentBytes, signal);
  return found === undefined ? known : withSegment(known, found);
}

function withSegment(inventory: WalInventory, segment: WalSegment): WalInventory {
  return {
    ...inventory,
    segments: new Map([...inventory.segments, [segment.name, segment]]),
    unfinished: inventory.unfinished.filter((name) => name !== segment.name),
  };
}

function absent(error: unknown): undefined {
  if (error instanceof ObjectMissing) return undefined;
  throw error;
}

/** A whole segment by its name, when both its objects are in the store. */
async function lookUpSegment(
  store: Store,
  component: string,
  name: string,
  segmentBytes: number,
  signal: AbortSignal | undefined,
): Promise<WalSegment | undefined> {
  const parsed = parseSegmentName(name, segmentBytes);
  if (parsed === undefined) return undefined;
  const sidecar = sidecarKeyOf(component, { name });
  if ((await store.stat(sidecar, signal)) === undefined) return undefined;
  for (const sealed of [true, false]) {
    const key = segmentKey(component, name, sealed);
    const found = await store.stat(key, signal);
    if (found === undefined) continue;
    return { ...parsed, name, key, sealed, storedBytes: found.bytes, modified: found.modified };
  }
  return undefined;
}
