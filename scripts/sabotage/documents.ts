import { pack } from "../../src/archive/pack.ts";
import { unpack } from "../../src/archive/unpack.ts";
import { encodeDocument } from "../../src/catalog/documents.ts";
import { sidecarKey } from "../../src/catalog/layout.ts";
import type { BackupManifest } from "../../src/catalog/manifest.ts";
import type { WalSegment, WalSidecar } from "../../src/catalog/wal.ts";
import type { Census } from "../../src/postgres/census/document.ts";
import { readCensus, writeCensus } from "../../src/postgres/census/store.ts";
import type { PostgresDetails } from "../../src/postgres/details.ts";
import { readAll } from "../../src/stores/store.ts";
import type { Facts, KnownBackup } from "./facts.ts";
import type { Overlay } from "./overlay.ts";

/** Replaces a document by what `edit` makes of it. */
async function editDocument<T>(store: Overlay, key: string, edit: (document: T) => T): Promise<void> {
  const bytes = await readAll(await store.get(key));
  await store.place(key, { bytes: encodeDocument(edit(JSON.parse(bytes.toString("utf8")) as T)) });
}

export async function editManifest(
  store: Overlay,
  { manifestKey }: KnownBackup,
  edit: (manifest: BackupManifest) => BackupManifest,
): Promise<void> {
  await editDocument(store, manifestKey, edit);
}

export async function editDetails(
  store: Overlay,
  backup: KnownBackup,
  edit: (details: PostgresDetails) => Partial<PostgresDetails>,
): Promise<void> {
  await editManifest(store, backup, (manifest) => ({
    ...manifest,
    details: { ...backup.details, ...edit(backup.details) },
  }));
}

export async function editSidecar(
  store: Overlay,
  { component }: Facts,
  segment: WalSegment | undefined,
  edit: (sidecar: WalSidecar) => Partial<WalSidecar>,
): Promise<void> {
  await editDocument<WalSidecar>(
    store,
    sidecarKey(component, segment?.name ?? ""),
    (sidecar) => ({ ...sidecar, ...edit(sidecar) }) as WalSidecar,
  );
}

/** Changes the census of the newest backup, so that the backup lacks something that its source had. */
export async function editCensus(
  store: Overlay,
  facts: Facts,
  edit: (census: Census) => Census,
): Promise<void> {
  await editCensusFor(store, facts, facts.recipients, edit);
}

/** Changes the census and seals it for others. */
export async function editCensusFor(
  store: Overlay,
  { component, newest, identity }: Facts,
  recipients: readonly string[],
  edit: (census: Census) => Census,
): Promise<void> {
  const side = { name: component, store, encryption: { recipients, identity: () => identity } };
  const { signal } = new AbortController();
  const document = await readCensus(side, newest.manifest, signal);
  if (document === undefined) throw new Error("The newest backup has no census.");
  const object = await writeCensus(side, edit(document), signal);
  await editManifest(store, newest, (manifest) => ({
    ...manifest,
    objects: manifest.objects.map((one) => (one.name === object.name ? object : one)),
  }));
}

/** What a segment is before it is packed. */
export async function readSegment(store: Overlay, segment: WalSegment, identity?: string): Promise<Buffer> {
  const subject = store.describe(segment.key);
  const stored = await store.get(segment.key);
  return await readAll(unpack(stored, { subject, sealed: segment.sealed, identity }));
}

/** Packs bytes as the segment's object. */
export async function writeSegment(
  store: Overlay,
  { key }: WalSegment,
  raw: Buffer,
  recipients: readonly string[],
): Promise<void> {
  const packed = pack(once(raw), { recipients });
  await store.place(key, { bytes: await readAll(packed.stream) });
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
