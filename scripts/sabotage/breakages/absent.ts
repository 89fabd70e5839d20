import { clusterKey, heartbeatKey, historyKey, walPrefix } from "../../../src/catalog/layout.ts";
import type { BackupObject } from "../../../src/catalog/manifest.ts";
import { sidecarKeyOf, type WalSegment } from "../../../src/catalog/wal.ts";
import { type Breakage, inventory } from "../breakage.ts";
import { type Facts, type KnownBackup, keysBelow, middleOf } from "../facts.ts";

type Keys = (facts: Facts) => readonly string[];

function gone(name: string, sentence: string, codes: readonly string[], keys: Keys): Breakage {
  return {
    name,
    sentence,
    expected: inventory(...codes),
    applies: (facts) => keys(facts).length > 0,
    breaks: async (store, facts) => await store.delete(keys(facts)),
  };
}

function objectGone(
  name: string,
  sentence: string,
  which: (facts: Facts) => KnownBackup | undefined,
  object: (backup: KnownBackup) => BackupObject | undefined,
): Breakage {
  return gone(name, sentence, ["backup-incomplete"], (facts) => {
    const backup = which(facts);
    const found = backup && object(backup);
    return backup === undefined || found === undefined ? [] : [backup.key(found)];
  });
}

/** A segment or a partial with its sidecar. */
function both(facts: Facts, segment: WalSegment | undefined): string[] {
  return segment === undefined ? [] : [segment.key, sidecarKeyOf(facts.component, segment)];
}

const newest = (facts: Facts) => facts.newest;
const older = (facts: Facts) => facts.older;

/** Somebody or something deleted an object. */
export const ABSENT: readonly Breakage[] = [
  gone(
    "newest manifest gone",
    "The manifest of the newest backup is deleted",
    ["backup-incomplete"],
    (facts) => [facts.newest.manifestKey],
  ),
  {
    name: "all manifests gone",
    sentence: "The manifests of all backups are deleted",
    expected: inventory("no-backup"),
    breaks: async (store, { component }) => {
      const keys = await keysBelow(store, `${component}/backups/`);
      await store.delete(keys.filter((key) => key.endsWith("/manifest.json")));
    },
  },
  {
    name: "component gone",
    sentence: "Everything of the component is deleted",
    expected: inventory("no-backup"),
    breaks: async (store, { component }) => await store.delete(await keysBelow(store, `${component}/`)),
  },
  objectGone(
    "base archive gone",
    "The base archive of the newest backup is deleted",
    newest,
    ({ base }) => base,
  ),
  objectGone(
    "older base archive gone",
    "The base archive of the older backup is deleted",
    older,
    ({ base }) => base,
  ),
  objectGone(
    "tablespace archive gone",
    "The archive of a tablespace is deleted",
    newest,
    (one) => one.tablespace,
  ),
  objectGone(
    "backup_manifest gone",
    "PostgreSQL's backup_manifest is deleted",
    newest,
    (one) => one.serverManifest,
  ),
  objectGone("census gone", "The census of the newest backup is deleted", newest, (one) => one.census),
  gone(
    "first segment gone",
    "The segment in which the newest backup begins is deleted",
    ["wal-gap"],
    (facts) => both(facts, facts.chain[0]),
  ),
  gone("middle segment gone", "A segment in the middle is deleted with its sidecar", ["wal-gap"], (facts) =>
    both(facts, middleOf(facts.chain)),
  ),
  gone("last segment gone", "The newest segment is deleted with its sidecar", ["wal-gap"], (facts) =>
    facts.partial === undefined ? both(facts, facts.chain.at(-1)) : [],
  ),
  gone("segment between gone", "A segment between two backups is deleted", ["wal-gap"], (facts) =>
    both(facts, middleOf(facts.between)),
  ),
  gone("only the sidecar gone", "The sidecar of a segment in the middle is deleted", ["wal-gap"], (facts) =>
    both(facts, middleOf(facts.chain)).slice(1),
  ),
  gone(
    "only the segment gone",
    "A segment in the middle is deleted, its sidecar stays",
    ["wal-gap"],
    (facts) => both(facts, middleOf(facts.chain)).slice(0, 1),
  ),
  gone("last sidecar gone", "The sidecar of the newest segment is deleted", ["wal-gap"], (facts) =>
    facts.partial === undefined ? both(facts, facts.chain.at(-1)).slice(1) : [],
  ),
  {
    name: "all WAL gone",
    sentence: "All WAL is deleted",
    expected: inventory("wal-gap"),
    breaks: async (store, { component }) => await store.delete(await keysBelow(store, walPrefix(component))),
  },
  gone(
    "history file gone",
    "The history file of the newest timeline is deleted",
    ["wal-gap", "timeline-fork"],
    (facts) => (facts.grown === undefined ? [] : [historyKey(facts.component, facts.grown)]),
  ),
  gone(
    "heartbeat gone",
    "heartbeat.json is deleted",
    ["backup-incomplete", "wal-stale", "not-verified"],
    (facts) => [heartbeatKey(facts.component)],
  ),
  gone("cluster.json gone", "cluster.json is deleted", ["backup-incomplete"], (facts) => [
    clusterKey(facts.component),
  ]),
  gone("partial gone", "The partial segment at the end is deleted with its sidecar", ["wal-gap"], (facts) =>
    both(facts, facts.partial),
  ),
  gone("partial's sidecar gone", "The sidecar of the partial segment is deleted", ["wal-gap"], (facts) =>
    both(facts, facts.partial).slice(1),
  ),
  gone("only the partial gone", "The partial segment is deleted, its sidecar stays", ["wal-gap"], (facts) =>
    both(facts, facts.partial).slice(0, 1),
  ),
];
