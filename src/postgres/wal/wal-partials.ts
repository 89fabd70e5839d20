import { createHash } from "node:crypto";
import { partialKey, partialSidecarKey } from "../../catalog/layout.ts";
import {
  type RestorePoint,
  readSidecarOf,
  sidecarKeyOf,
  type WalInventory,
  type WalSegment,
} from "../../catalog/wal.ts";
import type { Context } from "../../context.ts";
import { AbortedError, DefectError, messageOf } from "../../errors.ts";
import { ObjectMissing } from "../../stores/store.ts";
import { archivePartial, otherContent, type WalArchive } from "./wal-archive.ts";

/**
 * The parts of segments that the server has not completed yet. Each is an object of its own with its length in its
 * name, so none is ever overwritten; an older one goes when a longer one, or the whole segment, is in the store.
 */
export interface WalPartials {
  /** Removes what earlier runs left and nobody needs any more. */
  tidy(): Promise<void>;
  /** Stores a segment as far as it goes; bytes written. `content` must stay in memory until {@link WalPartials.idle}. */
  ship(name: string, content: Buffer, point: RestorePoint): Promise<number>;
  /** Settles when no partial of the segment is on its way. */
  idle(name: string): Promise<void>;
  /**
   * The newest restore point that an earlier run noted in a partial of this segment. Throws a {@link DefectError} when
   * the segment does not begin with that partial.
   */
  pointIn(name: string, content: Buffer): Promise<RestorePoint | undefined>;
  /** The segment is in the store as a whole: its partials go. */
  drop(name: string): Promise<void>;
}

const BATCH = 500;

export function openWalPartials(
  archive: WalArchive,
  inventory: Pick<WalInventory, "segments" | "partials">,
  context: Context,
): WalPartials {
  const { store, component } = archive;
  const sealed = archive.recipients.length > 0;
  /** Objects of partials in the store, by segment, and the newest that earlier runs left. */
  const keys = new Map([...inventory.partials].map(([name, partials]) => [name, [...partials.keys]]));
  const found = new Map([...inventory.partials].map(([name, partials]) => [name, partials.newest]));
  const underWay = new Map<string, Promise<unknown>>();
  let warned = false;

  /** Best effort: what remains only takes space, and a role may be allowed to write but not to delete. */
  async function remove(gone: readonly string[]): Promise<void> {
    try {
      for (let index = 0; index < gone.length; index += BATCH) {
        await store.delete(gone.slice(index, index + BATCH), context.signal);
      }
    } catch (error) {
      if (context.signal.aborted) throw new AbortedError();
      if (warned) return;
      warned = true;
      context.log.warning(
        `Partial WAL segments that are not needed any more could not be deleted and remain in the store: ${messageOf(error)}`,
      );
    }
  }

  /** Removes all but these. */
  async function keepOnly(name: string, kept: readonly string[]): Promise<void> {
    const all = keys.get(name) ?? [];
    keys.set(name, [...kept]);
    await remove(all.filter((key) => !kept.includes(key)));
  }

  function keysOf(segment: WalSegment | undefined): string[] {
    return segment === undefined ? [] : [segment.key, sidecarKeyOf(component, segment)];
  }

  async function pointIn(name: string, content: Buffer): Promise<RestorePoint | undefined> {
    const newest = found.get(name);
    if (newest?.partial === undefined) return undefined;
    const subject = store.describe(sidecarKeyOf(component, newest));
    try {
      const sidecar = await readSidecarOf(store, component, newest, context.signal);
      const begin = content.subarray(0, newest.partial.bytes);
      const same = createHash("sha256").update(begin).digest("hex") === sidecar.sha256;
      if (same && sidecar.systemIdentifier === archive.systemIdentifier) return sidecar.restorePoint;
    } catch (error) {
      if (!(error instanceof ObjectMissing || error instanceof DefectError)) throw error;
      // The whole segment takes its place: only the point that it noted is lost, until this run ends in a newer one.
      context.log.warning(`${messageOf(error)} The segment itself is archived all the same.`);
      return undefined;
    }
    throw otherContent(subject, name);
  }

  async function shipNow(name: string, content: Buffer, point: RestorePoint): Promise<number> {
    const own = [
      partialKey(component, name, content.length, sealed),
      partialSidecarKey(component, name, content.length),
    ];
    // What an earlier run left must be its beginning: it is deleted afterwards, and its point is older than this one.
    await pointIn(name, content);
    keys.set(name, [...(keys.get(name) ?? []), ...own]);
    const bytes = await archivePartial(archive, name, content, point, context);
    found.delete(name);
    await keepOnly(name, own);
    return bytes;
  }

  return {
    async tidy() {
      for (const [name, newest] of found) {
        await keepOnly(name, inventory.segments.has(name) ? [] : keysOf(newest));
      }
    },
    async ship(name, content, point) {
      const work = shipNow(name, content, point);
      const settled = work.catch(() => undefined).finally(() => underWay.delete(name));
      underWay.set(name, settled);
      return await work;
    },
    async idle(name) {
      await underWay.get(name);
    },
    pointIn,
    async drop(name) {
      if (keys.has(name)) await keepOnly(name, []);
    },
  };
}
