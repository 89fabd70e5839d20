import { segmentKey, sidecarKey } from "../../../src/catalog/layout.ts";
import { segmentName } from "../../../src/catalog/lsn.ts";
import { sidecarKeyOf, type WalSegment } from "../../../src/catalog/wal.ts";
import { type Breakage, checksums, drill, inventory } from "../breakage.ts";
import { type Facts, middleOf } from "../facts.ts";
import type { Overlay } from "../overlay.ts";

async function copy(store: Overlay, from: string, to: string): Promise<void> {
  await store.place(to, await store.content(from));
}

async function swap(store: Overlay, one: string, other: string): Promise<void> {
  const first = await store.content(one);
  await copy(store, other, one);
  await store.place(other, first);
}

/** Two neighbours in the middle of the chain. */
function pair({ chain }: Facts): [WalSegment, WalSegment] | undefined {
  const at = Math.floor(chain.length / 2);
  const [one, other] = [chain[at - 1], chain[at]];
  return one === undefined || other === undefined ? undefined : [one, other];
}

const hasPair = (facts: Facts) => pair(facts) !== undefined;
const hasOlder = ({ older }: Facts) => older !== undefined;

function neighbours(facts: Facts): [WalSegment, WalSegment] {
  const found = pair(facts);
  if (found === undefined) throw new Error("There are no two segments side by side.");
  return found;
}

/** Somebody copied, renamed or put back objects. */
export const MIXED_UP: readonly Breakage[] = [
  {
    name: "two segments swapped",
    sentence: "The content of two segments is swapped, their sidecars stay",
    expected: checksums("wal-corrupt"),
    applies: hasPair,
    breaks: async (store, facts) => {
      const [one, other] = neighbours(facts);
      await swap(store, one.key, other.key);
    },
  },
  {
    name: "two segments renamed",
    sentence: "Two segments swap their names, with their sidecars",
    expected: checksums("wal-corrupt"),
    applies: hasPair,
    breaks: async (store, facts) => {
      const [one, other] = neighbours(facts);
      await swap(store, one.key, other.key);
      await swap(store, sidecarKeyOf(facts.component, one), sidecarKeyOf(facts.component, other));
    },
  },
  {
    name: "segment renamed",
    sentence: "A segment is renamed far ahead, with its sidecar",
    expected: inventory("wal-gap"),
    applies: ({ chain }) => chain.length > 2,
    breaks: async (store, facts) => {
      const { component, chain, inventory: wal } = facts;
      const segment = middleOf(chain);
      if (segment === undefined) return;
      const name = segmentName(segment.timeline, segment.number + 1000, wal.segmentBytes);
      await copy(store, segment.key, segmentKey(component, name, segment.sealed));
      await copy(store, sidecarKeyOf(component, segment), sidecarKey(component, name));
      await store.delete([segment.key, sidecarKeyOf(component, segment)]);
    },
  },
  {
    name: "segment duplicated",
    sentence: "A segment is copied over the next one",
    expected: checksums("wal-corrupt"),
    applies: hasPair,
    breaks: async (store, facts) => {
      const [one, other] = neighbours(facts);
      await copy(store, one.key, other.key);
    },
  },
  {
    name: "segment and sidecar duplicated",
    sentence: "A segment is copied over the next one, with its sidecar",
    expected: checksums("wal-corrupt"),
    applies: hasPair,
    breaks: async (store, facts) => {
      const [one, other] = neighbours(facts);
      await copy(store, one.key, other.key);
      await copy(store, sidecarKeyOf(facts.component, one), sidecarKeyOf(facts.component, other));
    },
  },
  {
    name: "two backups' archives swapped",
    sentence: "The base archives of two backups are swapped",
    expected: checksums("backup-corrupt", "backup-incomplete"),
    applies: hasOlder,
    breaks: async (store, { older, newest }) => {
      if (older !== undefined) await swap(store, older.key(older.base), newest.key(newest.base));
    },
  },
  {
    name: "older archive in the newest backup",
    sentence: "The older base archive replaces the newest, also in the manifest",
    expected: drill("recovery failed", "backup-corrupt"),
    applies: hasOlder,
    breaks: async (store, { older, newest }) => {
      if (older === undefined) return;
      await copy(store, older.key(older.base), newest.key(newest.base));
      const objects = newest.manifest.objects.map((one) =>
        one.name === newest.base.name ? older.base : one,
      );
      const bytes = Buffer.from(JSON.stringify({ ...newest.manifest, objects }));
      await store.place(newest.manifestKey, { bytes });
    },
  },
  {
    name: "older manifest as the newest",
    sentence: "The older manifest lies under the id of the newest backup",
    expected: inventory("backup-corrupt"),
    applies: hasOlder,
    breaks: async (store, { older, newest }) => {
      if (older !== undefined) await copy(store, older.manifestKey, newest.manifestKey);
    },
  },
  {
    name: "older census in the newest backup",
    sentence: "The census of the older backup lies in the newest",
    expected: inventory("backup-corrupt", "backup-incomplete"),
    applies: ({ older, newest }) =>
      older?.census !== undefined && older.census.storedBytes !== newest.census?.storedBytes,
    breaks: async (store, { older, newest }) => {
      if (older?.census === undefined || newest.census === undefined) return;
      await copy(store, older.key(older.census), newest.key(newest.census));
    },
  },
];
