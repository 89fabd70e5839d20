import {
  clusterKey,
  heartbeatKey,
  historyKey,
  partialSidecarKey,
  sidecarKey,
} from "../../../src/catalog/layout.ts";
import { type Breakage, checksums, type Expected, inventory } from "../breakage.ts";
import { type Facts, middleOf } from "../facts.ts";
import { cutTo, flippedAt, lengthOf } from "../overlay.ts";

/** An object that can be damaged, and what damage to it is called. */
interface Kind {
  readonly name: string;
  readonly key: (facts: Facts) => string | undefined;
  /** What it is called when the object is shorter than it was. */
  readonly cut: Expected;
  /** How much of it stays when its end is lost; half unless given. */
  readonly share?: number;
  /** And when bytes of it differ. */
  readonly flipped: Expected;
}

const CORRUPT = ["backup-corrupt"];

const OBJECTS: readonly Kind[] = [
  {
    name: "base archive",
    key: ({ newest }) => newest.key(newest.base),
    cut: inventory(...CORRUPT, "backup-incomplete"),
    flipped: checksums(...CORRUPT),
  },
  {
    name: "older base archive",
    key: ({ older }) => older?.key(older.base),
    cut: inventory(...CORRUPT, "backup-incomplete"),
    flipped: checksums(...CORRUPT),
  },
  {
    name: "tablespace archive",
    key: ({ newest }) => newest.tablespace && newest.key(newest.tablespace),
    cut: inventory(...CORRUPT, "backup-incomplete"),
    flipped: checksums(...CORRUPT),
  },
  {
    name: "backup_manifest",
    key: ({ newest }) => newest.serverManifest && newest.key(newest.serverManifest),
    cut: inventory(...CORRUPT, "backup-incomplete"),
    flipped: checksums(...CORRUPT),
  },
  {
    name: "census",
    key: ({ newest }) => newest.census && newest.key(newest.census),
    cut: inventory(...CORRUPT, "backup-incomplete"),
    flipped: checksums(...CORRUPT),
  },
  {
    name: "manifest",
    key: ({ newest }) => newest.manifestKey,
    cut: inventory(...CORRUPT),
    flipped: inventory(...CORRUPT),
  },
  {
    name: "middle segment",
    key: ({ chain }) => middleOf(chain)?.key,
    cut: checksums("wal-corrupt"),
    flipped: checksums("wal-corrupt"),
  },
  {
    name: "last segment",
    key: ({ chain, partial }) => (partial === undefined ? chain.at(-1)?.key : undefined),
    cut: checksums("wal-corrupt"),
    flipped: checksums("wal-corrupt"),
  },
  {
    name: "sidecar",
    key: ({ component, chain }) => {
      const segment = middleOf(chain);
      return segment && sidecarKey(component, segment.name);
    },
    cut: checksums("wal-corrupt"),
    flipped: checksums("wal-corrupt"),
  },
  {
    name: "history file",
    // In the middle of the position.
    share: 0.12,
    key: ({ component, grown }) => (grown === undefined ? undefined : historyKey(component, grown)),
    cut: inventory("wal-corrupt", "timeline-fork", "wal-gap"),
    flipped: inventory("wal-corrupt", "timeline-fork", "wal-gap"),
  },
  {
    name: "partial",
    key: ({ partial }) => partial?.key,
    cut: checksums("wal-corrupt"),
    flipped: checksums("wal-corrupt"),
  },
  {
    name: "partial's sidecar",
    key: ({ component, partial }) =>
      partial && partialSidecarKey(component, partial.name, partial.partial.bytes),
    cut: checksums("wal-corrupt"),
    flipped: checksums("wal-corrupt"),
  },
  {
    name: "heartbeat",
    key: ({ component }) => heartbeatKey(component),
    cut: inventory("backup-corrupt"),
    flipped: inventory("backup-corrupt"),
  },
  {
    name: "cluster.json",
    key: ({ component }) => clusterKey(component),
    cut: inventory("backup-corrupt"),
    flipped: inventory("backup-corrupt"),
  },
];

/** Bytes are flipped at these places of an object. */
const PLACES = [
  { where: "first", offset: () => 0 },
  { where: "middle", offset: (length: number) => Math.floor(length / 2) },
  { where: "last", offset: (length: number) => length - 1 },
] as const;

/** Documents end with a newline and blanks, where another byte says nothing: only their beginning. */
const DOCUMENTS = new Set([
  "manifest",
  "sidecar",
  "partial's sidecar",
  "heartbeat",
  "cluster.json",
  "history file",
]);

function cuts({ name, key, cut, share = 0.5 }: Kind): Breakage[] {
  const applies = (facts: Facts) => key(facts) !== undefined;
  const to = (part: number, sentence: string, title: string): Breakage => ({
    name: title,
    sentence,
    expected: cut,
    applies,
    async breaks(store, facts) {
      const found = key(facts) ?? "";
      const content = await store.content(found);
      await store.place(found, cutTo(content, Math.floor(lengthOf(content) * part)));
    },
  });
  return [
    to(share, `The end of the ${name} is lost`, `${name} cut short`),
    to(0, `The ${name} is there, but empty`, `${name} emptied`),
  ];
}

function flips({ name, key, flipped }: Kind): Breakage[] {
  const places = DOCUMENTS.has(name) ? PLACES.slice(0, 1) : PLACES;
  return places.map(({ where, offset }) => ({
    name: `${where} byte of ${name}`,
    sentence: `The ${where} byte of the ${name} is flipped`,
    expected: flipped,
    applies: (facts) => key(facts) !== undefined,
    async breaks(store, facts) {
      const found = key(facts) ?? "";
      const content = await store.content(found);
      await store.place(found, flippedAt(content, offset(lengthOf(content))));
    },
  }));
}

/** A disk, a network or a tool altered what is stored. */
export const DAMAGED: readonly Breakage[] = OBJECTS.flatMap((kind) => [...cuts(kind), ...flips(kind)]);
