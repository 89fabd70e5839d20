import { encodeDocument } from "../../../src/catalog/documents.ts";
import { manifestKey, objectKey } from "../../../src/catalog/layout.ts";
import { drillRecord } from "../../../src/record.ts";
import { readAll } from "../../../src/stores/store.ts";
import { type Breakage, inventory, warned } from "../breakage.ts";
import { keysBelow } from "../facts.ts";
import { cutTo } from "../overlay.ts";

const DAY = 24 * 3600;
/** Longer than what `verify` grants retention. */
const MONTH = 31 * DAY;

/** Nothing is damaged, but something that should have happened has not. */
export const OVERDUE: readonly Breakage[] = [
  {
    name: "WAL too old",
    sentence: "No WAL was archived for twice as long as freshness.wal",
    expected: inventory("wal-stale"),
    applies: ({ config }) => config.freshness.wal !== undefined,
    around: ({ config }) => ({ laterSeconds: 2 * (config.freshness.wal ?? 0) }),
  },
  {
    name: "backup too old",
    sentence: "No backup was taken for twice as long as freshness.backup",
    expected: inventory("backup-stale"),
    applies: ({ config }) => config.freshness.backup !== undefined,
    around: ({ config }) => ({ laterSeconds: 2 * (config.freshness.backup ?? 0) }),
  },
  {
    name: "retention overdue",
    sentence: "A backup is a month older than retention keeps it",
    expected: warned(inventory("retention-overdue")),
    applies: ({ config, backups }) => backups > (config.retention?.minimum ?? Number.POSITIVE_INFINITY),
    around: ({ config }) => ({ laterSeconds: (config.retention?.keep ?? 0) + MONTH }),
  },
  {
    name: "drill overdue",
    sentence: "The last passed drill is older than the scenario's every",
    expected: inventory("drill-overdue"),
    applies: ({ drilledEverySeconds }) => drilledEverySeconds !== undefined,
    around: ({ drilledEverySeconds = 0 }) => ({ laterSeconds: drilledEverySeconds + DAY }),
  },
  {
    name: "drill records gone",
    sentence: "The records of all drills are deleted",
    expected: warned(inventory("drill-overdue")),
    applies: ({ drilledEverySeconds }) => drilledEverySeconds !== undefined,
    breaks: async (store) => await store.delete(await keysBelow(store, "drills/")),
  },
  {
    name: "no drill ever passed",
    sentence: "All drill records say failed",
    expected: warned(inventory("drill-overdue")),
    applies: ({ drilledEverySeconds }) => drilledEverySeconds !== undefined,
    breaks: async (store) => {
      for (const key of await keysBelow(store, "drills/")) {
        const text = (await readAll(await store.get(key))).toString("utf8");
        const record = { ...drillRecord.parse(JSON.parse(text)), verdict: "failed" };
        await store.place(key, { bytes: encodeDocument(record) });
      }
    },
  },
  {
    name: "backup of a tenth of its size",
    sentence: "The newest base archive is a tenth of those before it",
    expected: inventory("size-anomaly"),
    applies: ({ newest }) => newest.base.storedBytes > 10_000,
    breaks: async (store, { component, newest }) => {
      const { manifest, base } = newest;
      // Three of its like before it, so that there is something usual to compare with.
      for (const [index, id] of ["a", "b", "c"].entries()) {
        const copy = `${manifest.id.slice(0, -6)}${id.repeat(6)}`;
        const startedAt = new Date(Date.parse(manifest.startedAt) - (9 - index)).toISOString();
        const document = encodeDocument({ ...manifest, id: copy, startedAt });
        await store.place(manifestKey(component, copy), { bytes: document });
        for (const { name } of manifest.objects) {
          const content = await store.content(objectKey(component, manifest.id, name));
          await store.place(objectKey(component, copy, name), content);
        }
      }
      const storedBytes = Math.floor(base.storedBytes / 10);
      const rawBytes = Math.floor(base.rawBytes / 10);
      const dataBytes = Math.floor(newest.details.dataBytes / 10);
      await store.place(newest.key(base), cutTo(await store.content(newest.key(base)), storedBytes));
      const objects = manifest.objects.map((one) =>
        one.name === base.name ? { ...one, storedBytes, rawBytes } : one,
      );
      const document = { ...manifest, objects, details: { ...newest.details, dataBytes } };
      await store.place(newest.manifestKey, { bytes: encodeDocument(document) });
    },
  },
];
