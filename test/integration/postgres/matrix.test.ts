import { describe, test } from "vitest";
import { NIGHTLY } from "../../support/nightly.ts";
import { type Cluster, goTheWholeWay } from "./matrix/cluster.ts";
import {
  checksumsOff,
  checksumsOn,
  configOutside,
  largeSegments,
  preloaded,
  promoted,
  raisedConnections,
  standby,
} from "./matrix/cluster-kinds.ts";
import {
  icuCollation,
  icuDatabase,
  largeObjects,
  manyTables,
  prepared,
  tablespaces,
  unlogged,
} from "./matrix/content.ts";
import { holedTable, largeTable } from "./matrix/large.ts";
import type { Variant } from "./matrix/variant.ts";

/**
 * Every way in which a source can look. Each run has every variant on at least one major, many of them together; with
 * DRILLBOOK_NIGHTLY=1 each is alone, on every major, with both ways of WAL.
 */
const MAJORS = [14, 15, 16, 17, 18];
const NIGHT_MS = 600_000;
const WAYS = ["slot", "archive"] as const;

const CONTENT = [unlogged, largeObjects, prepared, icuCollation];
const TOGETHER: readonly Cluster[] = [
  { major: 14, wal: "archive", variants: [checksumsOff, tablespaces, ...CONTENT, raisedConnections] },
  { major: 15, wal: "slot", variants: [largeSegments, checksumsOn, standby, ...CONTENT, icuDatabase] },
  {
    major: 16,
    wal: "slot",
    variants: [promoted, checksumsOn, tablespaces, ...CONTENT, icuDatabase, configOutside],
  },
  { major: 17, wal: "slot", variants: [holedTable, icuDatabase, preloaded, raisedConnections] },
  { major: 18, wal: "slot", variants: [checksumsOff, ...CONTENT, configOutside, preloaded, manyTables] },
];

const ALONE: readonly Variant[] = [
  checksumsOff,
  checksumsOn,
  largeSegments,
  promoted,
  standby,
  configOutside,
  preloaded,
  raisedConnections,
  tablespaces,
  ...CONTENT,
  icuDatabase,
  manyTables,
  holedTable,
  largeTable,
];

function title({ major, wal, variants }: Cluster): string {
  return `PostgreSQL ${major}, WAL from ${wal === "slot" ? "a slot" : "an archive"}: ${variants.map((one) => one.name).join(" + ")}`;
}

describe("a source comes back whole that has", () => {
  for (const cluster of TOGETHER) test(title(cluster), () => goTheWholeWay(cluster));
});

describe.skipIf(!NIGHTLY)("by night (DRILLBOOK_NIGHTLY=1) a source comes back whole that has", () => {
  for (const variant of ALONE) {
    for (const major of MAJORS.filter((one) => one >= (variant.since ?? 0))) {
      for (const wal of WAYS) {
        const cluster = { major, wal, variants: [variant] };
        test(title(cluster), { timeout: NIGHT_MS }, () => goTheWholeWay(cluster));
      }
    }
  }
});
