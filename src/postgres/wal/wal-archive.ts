import { createHash } from "node:crypto";
import { pack } from "../../archive/pack.ts";
import { encodeDocument } from "../../catalog/documents.ts";
import { historyKey, segmentKey, sidecarKey } from "../../catalog/layout.ts";
import { type RestorePoint, readSidecar, type WalSidecar } from "../../catalog/wal.ts";
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
  const { store, component, recipients, systemIdentifier } = archive;
  const { signal } = context;
  const sealed = recipients.length > 0;
  const named = restorePointsIn(bytes);
  const sidecar: WalSidecar = {
    schema: "drillbook/wal-segment/v1",
    segment: name,
    systemIdentifier,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    bytes: bytes.length,
    archivedAt: context.now().toISOString(),
    ...(point === undefined ? {} : { restorePoint: point }),
    ...(named.length === 0 ? {} : { restorePoints: named }),
  };
  if (!(await store.create(sidecarKey(component, name), encodeDocument(sidecar), signal))) {
    const known = await readSidecar(store, component, name, signal);
    if (known.sha256 !== sidecar.sha256 || known.systemIdentifier !== systemIdentifier) {
      throw otherContent(store.describe(sidecarKey(component, name)), name);
    }
    for (const form of [sealed, !sealed]) {
      if ((await store.stat(segmentKey(component, name, form), signal)) !== undefined) return 0;
    }
  }
  // One frame at a time: several segments may be on their way, and memory counts more than speed.
  const packed = pack(once(bytes), { recipients, signal, hashRaw: false, inFlight: 1 });
  return await store.put(segmentKey(component, name, sealed), packed.stream, {
    signal,
    expectedBytes: bytes.length + 2 ** 20,
  });
}

function otherContent(subject: string, name: string): DefectError {
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
