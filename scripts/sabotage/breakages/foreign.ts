import { generateIdentity, identityToRecipient } from "age-encryption";
import { listBackups } from "../../../src/catalog/backups.ts";
import { encodeDocument } from "../../../src/catalog/documents.ts";
import { clusterKey, manifestKey, objectKey, sidecarKey } from "../../../src/catalog/layout.ts";
import { listSegments, readSidecar, type WalSegment } from "../../../src/catalog/wal.ts";
import { type Breakage, checksums, drill, inventory } from "../breakage.ts";
import { editCensusFor, editDetails, editSidecar, readSegment, writeSegment } from "../documents.ts";
import { type Facts, middleOf } from "../facts.ts";
import type { Overlay } from "../overlay.ts";

const OTHER_SYSTEM = "7000000000000000001";
const isSealed = ({ recipients }: Facts) => recipients.length > 0;

async function otherRecipient(): Promise<string> {
  return await identityToRecipient(await generateIdentity());
}

/** Puts a segment of another component in the place of one of ours; `identifier`: what its sidecar then says. */
async function smuggle(
  store: Overlay,
  { component }: Facts,
  place: WalSegment,
  other: { readonly component: string; readonly segment: WalSegment },
  identifier?: string,
): Promise<void> {
  await store.place(place.key, await store.content(other.segment.key));
  const sidecar = await readSidecar(store, other.component, other.segment.name);
  const { systemIdentifier } = sidecar;
  const changed = { ...sidecar, segment: place.name, systemIdentifier: identifier ?? systemIdentifier };
  await store.place(sidecarKey(component, place.name), { bytes: encodeDocument(changed) });
}

/** A segment of another component of the store, if possible one of that name. */
async function segmentOf(
  store: Overlay,
  { inventory: wal }: Facts,
  component: string,
  name: string,
): Promise<WalSegment | undefined> {
  const { segments } = await listSegments(store, component, wal.segmentBytes);
  return segments.get(name) ?? middleOf([...segments.values()]);
}

/** Another cluster, another component, another key. */
export const FOREIGN: readonly Breakage[] = [
  {
    name: "identity changed",
    sentence: "The private key is not that of the recipients",
    expected: checksums("key-mismatch"),
    applies: isSealed,
    around: async () => ({ identity: await generateIdentity() }),
  },
  {
    name: "segment sealed for somebody else",
    sentence: "A segment is sealed again, for another recipient",
    expected: checksums("key-mismatch"),
    applies: isSealed,
    breaks: async (store, { chain, identity }) => {
      const segment = middleOf(chain);
      if (segment === undefined) return;
      const raw = await readSegment(store, segment, identity);
      await writeSegment(store, segment, raw, [await otherRecipient()]);
    },
  },
  {
    name: "census sealed for somebody else",
    sentence: "The census is sealed again for another recipient",
    expected: checksums("key-mismatch"),
    applies: (facts) => isSealed(facts) && facts.newest.census !== undefined,
    breaks: async (store, facts) => {
      await editCensusFor(store, facts, [await otherRecipient()], (census) => census);
    },
  },
  {
    name: "backup of another cluster",
    sentence: "The manifest of the newest backup names another cluster",
    expected: inventory("foreign-system"),
    breaks: async (store, { newest }) => {
      await editDetails(store, newest, () => ({ systemIdentifier: OTHER_SYSTEM }));
    },
  },
  {
    name: "sidecar of another cluster",
    sentence: "The sidecar of a segment names another cluster",
    expected: checksums("foreign-system"),
    breaks: async (store, facts) => {
      await editSidecar(store, facts, middleOf(facts.chain), () => ({ systemIdentifier: OTHER_SYSTEM }));
    },
  },
  {
    name: "cluster.json of another cluster",
    sentence: "cluster.json names another cluster",
    expected: inventory("foreign-system"),
    breaks: async (store, { component }) => {
      const document = { schema: "drillbook/cluster/v1", systemIdentifier: OTHER_SYSTEM };
      await store.place(clusterKey(component), { bytes: encodeDocument(document) });
    },
  },
  {
    name: "segment of another cluster",
    sentence: "A segment of another cluster replaces one, with its sidecar",
    expected: checksums("foreign-system"),
    applies: ({ others }) => others.includes("other"),
    breaks: async (store, facts) => {
      const place = middleOf(facts.chain);
      const segment = place && (await segmentOf(store, facts, "other", place.name));
      if (segment) await smuggle(store, facts, place, { component: "other", segment });
    },
  },
  {
    name: "disguised segment",
    sentence: "The same, and the sidecar says that it is ours",
    expected: drill("recovery failed", "foreign-system", "wal-corrupt"),
    applies: ({ others }) => others.includes("other"),
    breaks: async (store, facts) => {
      const place = middleOf(facts.chain);
      const segment = place && (await segmentOf(store, facts, "other", place.name));
      const { systemIdentifier } = facts.newest.details;
      if (segment) await smuggle(store, facts, place, { component: "other", segment }, systemIdentifier);
    },
  },
  {
    name: "two servers on one timeline",
    sentence: "A segment comes from a second server that was promoted too",
    expected: drill("recovery failed", "timeline-fork", "wal-corrupt"),
    applies: ({ others }) => others.includes("fork"),
    breaks: async (store, facts) => {
      const { segments } = await listSegments(store, "fork", facts.inventory.segmentBytes);
      const place = facts.chain.slice(1).find(({ name }) => segments.has(name));
      const segment = place && segments.get(place.name);
      if (segment === undefined) throw new Error("The two servers have no segment of the same name.");
      await smuggle(store, facts, place as WalSegment, { component: "fork", segment });
    },
  },
  {
    name: "another component's backup",
    sentence: "A backup of another component is copied among ours",
    expected: inventory("foreign-system", "backup-corrupt"),
    applies: ({ others }) => others.includes("other"),
    breaks: async (store, { component }) => {
      const backup = (await listBackups(store, "other")).at(-1);
      if (backup === undefined) throw new Error("The other component has no backup.");
      const { id } = backup;
      await store.place(manifestKey(component, id), await store.content(manifestKey("other", id)));
      for (const { name } of backup.objects) {
        await store.place(objectKey(component, id, name), await store.content(objectKey("other", id, name)));
      }
    },
  },
];
