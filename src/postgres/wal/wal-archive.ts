import { createHash } from "node:crypto";
import { pack } from "../../archive/pack.ts";
import { encodeDocument } from "../../catalog/documents.ts";
import { historyKey, partialKey, segmentKey } from "../../catalog/layout.ts";
import {
  type RestorePoint,
  readSidecarOf,
  sidecarKeyOf,
  type WalSegment,
  type WalSidecar,
} from "../../catalog/wal.ts";
import type { Context } from "../../context.ts";
import { DefectError } from "../../errors.ts";
import { readAll, type Store } from "../../stores/store.ts";
import { restorePointsIn } from "./restore-points.ts";

/** Where WAL goes. */
export interface WalArchive {
  readonly store: Store;
  readonly component: string;
  readonly recipients: readonly string[];
  readonly systemIdentifier: string;
}

/**
 * Stores one whole segment: first its sidecar, which fixes the content of the name for ever, then the packed segment.
 * The same content again is fine. Returns the bytes written. Throws a {@link DefectError} when the store holds other
 * content under the name.
 */
export async function archiveSegment(
  archive: WalArchive,
  name: string,
  bytes: Buffer,
  point: RestorePoint | undefined,
  context: Context,
): Promise<number> {
  const { store, component, recipients } = archive;
  const sealed = recipients.length > 0;
  if (!(await claim(archive, { name }, bytes, point, context))) {
    for (const form of [sealed, !sealed]) {
      if ((await store.stat(segmentKey(component, name, form), context.signal)) !== undefined) return 0;
    }
  }
  return await putPacked(archive, segmentKey(component, name, sealed), bytes, context);
}

/**
 * Stores the first bytes of a segment that is not complete yet, by the same rules: its length is part of its name.
 * `bytes` must stay as they are until it is done. Returns the bytes written.
 */
export async function archivePartial(
  archive: WalArchive,
  name: string,
  bytes: Buffer,
  point: RestorePoint,
  context: Context,
): Promise<number> {
  await claim(archive, { name, partial: { bytes: bytes.length } }, bytes, point, context);
  const key = partialKey(archive.component, name, bytes.length, archive.recipients.length > 0);
  return await putPacked(archive, key, bytes, context);
}

/** Creates the sidecar; false when the store has one of the same content already. */
async function claim(
  archive: WalArchive,
  segment: Pick<WalSegment, "name" | "partial">,
  bytes: Buffer,
  point: RestorePoint | undefined,
  context: Context,
): Promise<boolean> {
  const { store, component, systemIdentifier } = archive;
  const named = restorePointsIn(bytes);
  const sidecar: WalSidecar = {
    schema: segment.partial === undefined ? "drillbook/wal-segment/v1" : "drillbook/wal-partial/v1",
    segment: segment.name,
    systemIdentifier,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    bytes: bytes.length,
    archivedAt: context.now().toISOString(),
    ...(point === undefined ? {} : { restorePoint: point }),
    ...(named.length === 0 ? {} : { restorePoints: named }),
  };
  const key = sidecarKeyOf(component, segment);
  if (await store.create(key, encodeDocument(sidecar), context.signal)) return true;
  const known = await readSidecarOf(store, component, segment, context.signal);
  if (known.sha256 === sidecar.sha256 && known.systemIdentifier === systemIdentifier) return false;
  throw otherContent(store.describe(key), segment.name);
}

async function putPacked(archive: WalArchive, key: string, bytes: Buffer, context: Context): Promise<number> {
  const { signal } = context;
  // One frame at a time: several segments may be on their way, and memory counts more than speed.
  const packed = pack(once(bytes), { recipients: archive.recipients, signal, hashRaw: false, inFlight: 1 });
  return await archive.store.put(key, packed.stream, { signal, expectedBytes: bytes.length + 2 ** 20 });
}

/** The archive and the server disagree on what a segment holds. */
export function otherContent(subject: string, name: string): DefectError {
  return new DefectError(
    subject,
    `${subject} says that the archive holds another content of the WAL segment ${name} than the server has now: two servers went separate ways on one timeline, so give this one another component name or prefix.`,
  );
}

/** Stores a timeline's history file. Throws a {@link DefectError} when the store holds another one of that name. */
export async function archiveHistory(
  archive: WalArchive,
  timeline: number,
  content: string,
  context: Context,
): Promise<void> {
  const { store, component } = archive;
  const key = historyKey(component, timeline);
  const bytes = Buffer.from(content, "utf8");
  if (await store.create(key, bytes, context.signal)) return;
  const known = await readAll(await store.get(key, { signal: context.signal }));
  if (known.equals(bytes)) return;
  const subject = store.describe(key);
  throw new DefectError(
    subject,
    `${subject} is the history of another timeline ${timeline} than this server's: two servers went separate ways, so give this one another component name or prefix.`,
  );
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
