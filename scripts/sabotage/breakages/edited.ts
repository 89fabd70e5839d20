import { encodeDocument } from "../../../src/catalog/documents.ts";
import { heartbeatKey, historyKey } from "../../../src/catalog/layout.ts";
import { formatLsn, lsn, segmentName } from "../../../src/catalog/lsn.ts";
import type { WalSegment } from "../../../src/catalog/wal.ts";
import { readAll } from "../../../src/stores/store.ts";
import { type Breakage, checksums, drill, inventory } from "../breakage.ts";
import { editDetails, editManifest, editSidecar } from "../documents.ts";
import { type Facts, middleOf } from "../facts.ts";

const ZEROS = "0".repeat(64);

function movedBy(position: string, bytes: number): string {
  return formatLsn(lsn(position) + BigInt(bytes));
}

/** The last segment, where the newest named point lies; undefined when a partial is behind it. */
function end({ chain, partial }: Facts): WalSegment | undefined {
  return partial === undefined ? chain.at(-1) : undefined;
}

const endsWhole = (facts: Facts) => end(facts) !== undefined;
const hasGrown = ({ grown }: Facts) => grown !== undefined;

/** Documents that say something else than what is there. */
export const EDITED: readonly Breakage[] = [
  {
    name: "size in the manifest edited",
    sentence: "The manifest gives the base archive another size",
    expected: inventory("backup-corrupt", "backup-incomplete"),
    breaks: async (store, { newest }) => {
      await editManifest(store, newest, (manifest) => ({
        ...manifest,
        objects: manifest.objects.map((one) => ({ ...one, storedBytes: one.storedBytes + 1 })),
      }));
    },
  },
  {
    name: "digest in the manifest edited",
    sentence: "The manifest gives the base archive another SHA-256",
    expected: checksums("backup-corrupt"),
    breaks: async (store, { newest }) => {
      await editManifest(store, newest, (manifest) => ({
        ...manifest,
        objects: manifest.objects.map((one) => ({ ...one, storedSha256: ZEROS })),
      }));
    },
  },
  {
    name: "end of the backup edited",
    sentence: "The manifest says that the backup ends behind all WAL",
    expected: inventory("wal-gap"),
    breaks: async (store, { newest }) => {
      await editDetails(store, newest, ({ stopLsn }) => ({ stopLsn: movedBy(stopLsn, 2 ** 36) }));
    },
  },
  {
    name: "beginning of the backup edited",
    sentence: "The manifest says that the backup begins two segments later",
    expected: drill("recovery failed", "backup-corrupt"),
    applies: ({ chain }) => chain.length > 3,
    breaks: async (store, { newest }) => {
      const later = 2 * newest.details.walSegmentBytes;
      await editDetails(store, newest, ({ startLsn, stopLsn }) => ({
        startLsn: movedBy(startLsn, later),
        stopLsn: movedBy(stopLsn, later),
      }));
    },
  },
  {
    name: "segment size edited",
    sentence: "The manifest gives the cluster another segment size",
    expected: inventory("wal-gap", "wal-corrupt", "backup-corrupt"),
    breaks: async (store, { newest }) => {
      await editDetails(store, newest, ({ walSegmentBytes }) => ({ walSegmentBytes: walSegmentBytes * 2 }));
    },
  },
  {
    name: "object left out of the manifest",
    sentence: "The manifest of the newest backup names no base archive",
    expected: inventory("backup-incomplete", "backup-corrupt"),
    breaks: async (store, { newest }) => {
      await editManifest(store, newest, (manifest) => ({
        ...manifest,
        objects: manifest.objects.filter((one) => one.name !== newest.base.name),
      }));
    },
  },
  {
    name: "digest in a sidecar edited",
    sentence: "The sidecar of a segment gives another SHA-256",
    expected: checksums("wal-corrupt"),
    breaks: async (store, facts) => {
      await editSidecar(store, facts, middleOf(facts.chain), () => ({ sha256: ZEROS }));
    },
  },
  {
    name: "length in a sidecar edited",
    sentence: "The sidecar of a segment gives another length",
    expected: checksums("wal-corrupt"),
    breaks: async (store, facts) => {
      await editSidecar(store, facts, middleOf(facts.chain), ({ bytes }) => ({ bytes: bytes / 2 }));
    },
  },
  {
    name: "name of the newest point edited",
    sentence: "The newest sidecar names another restore point",
    expected: drill("recovery failed", "wal-corrupt"),
    applies: endsWhole,
    breaks: async (store, facts) => {
      await editSidecar(store, facts, end(facts), ({ restorePoint }) => ({
        restorePoint: restorePoint && { ...restorePoint, name: "drillbook-nowhere" },
      }));
    },
  },
  {
    name: "position of the newest point edited",
    sentence: "The newest sidecar moves its restore point",
    expected: drill("recovery failed", "wal-corrupt"),
    applies: endsWhole,
    breaks: async (store, facts) => {
      await editSidecar(store, facts, end(facts), ({ restorePoint }) => ({
        restorePoint: restorePoint && { ...restorePoint, lsn: movedBy(restorePoint.lsn, -8) },
      }));
    },
  },
  {
    name: "newest point erased",
    sentence: "The newest sidecar no longer names its restore point",
    expected: inventory("wal-corrupt"),
    applies: endsWhole,
    breaks: async (store, facts) => {
      await editSidecar(store, facts, end(facts), () => ({
        restorePoint: undefined,
        restorePoints: undefined,
      }));
    },
  },
  {
    name: "history moved back",
    sentence: "The history says that the timeline began earlier",
    expected: drill("timeline-fork", "wal-gap", "wal-corrupt", "recovery failed"),
    applies: hasGrown,
    breaks: async (store, facts) => await moveHistory(store, facts, -4),
  },
  {
    name: "history moved ahead",
    sentence: "The history says that the timeline began later",
    expected: drill("timeline-fork", "wal-gap", "wal-corrupt", "recovery failed"),
    applies: hasGrown,
    breaks: async (store, facts) => await moveHistory(store, facts, 400),
  },
  {
    name: "heartbeat promises more",
    sentence: "The heartbeat names a segment that is not there",
    expected: inventory("wal-gap"),
    applies: ({ heartbeat }) => heartbeat !== undefined,
    breaks: async (store, facts) => {
      const { component, heartbeat, inventory: wal, chain } = facts;
      const last = chain.at(-1);
      if (last === undefined) return;
      const lastSegment = segmentName(last.timeline, last.number + 2, wal.segmentBytes);
      const document = { ...heartbeat, lastSegment, partial: null };
      await store.place(heartbeatKey(component), { bytes: encodeDocument(document) });
    },
  },
];

async function moveHistory(
  store: Parameters<NonNullable<Breakage["breaks"]>>[0],
  { component, grown, inventory: wal }: Facts,
  segments: number,
): Promise<void> {
  const key = historyKey(component, grown ?? 0);
  const text = (await readAll(await store.get(key))).toString("utf8");
  const moved = text.replace(/(\t)(\S+\/\S+)(?=[^\n]*\n*$)/, (_, tab: string, at: string) => {
    return `${tab}${movedBy(at, segments * wal.segmentBytes)}`;
  });
  if (moved === text) throw new Error(`${key} has no line to move.`);
  await store.place(key, { bytes: Buffer.from(moved) });
}
