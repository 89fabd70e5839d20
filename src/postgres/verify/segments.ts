import { createHash } from "node:crypto";
import { readSettled } from "../../archive/second-look.ts";
import { unpack } from "../../archive/unpack.ts";
import { parseWalKey, walPrefix } from "../../catalog/layout.ts";
import { parseSegmentName, segmentStart } from "../../catalog/lsn.ts";
import { readSidecarOf, sidecarKeyOf } from "../../catalog/wal.ts";
import { DefectError } from "../../errors.ts";
import { release } from "../../release.ts";
import { type ObjectInfo, readAll } from "../../stores/store.ts";
import { holdsPoint } from "../wal/restore-points.ts";
import { readSegmentHeader } from "../wal/wal-messages.ts";
import type { VerifiedBackup } from "./backups.ts";
import { guarded, type Reader } from "./reader.ts";
import { isChosen } from "./share.ts";

/** Segments are small: several are read at a time. */
const PARALLEL = 4;

/** Reads all WAL, or today's share of it, and compares each segment with its sidecar, its name and its cluster. */
export async function readWal(reader: Reader, newest: VerifiedBackup | undefined): Promise<void> {
  const { setting, request, context } = reader;
  const { store, name } = setting;
  const segmentBytes = newest?.details.walSegmentBytes ?? 16 * 2 ** 20;
  const underWay = new Set<Promise<void>>();
  let failure: { readonly error: unknown } | undefined;
  for await (const object of store.list(walPrefix(name), context.signal)) {
    const wal = parseWalKey(name, object.key);
    if (wal?.kind !== "segment" && wal?.kind !== "partial") continue;
    if (!isChosen(request.share, object.key) || (wal.sealed && reader.identity === undefined)) continue;
    const partial = wal.kind === "partial" ? { bytes: wal.bytes } : undefined;
    const segment = { name: wal.segment, sealed: wal.sealed, partial };
    while (underWay.size >= PARALLEL) await Promise.race(underWay);
    if (failure !== undefined) break;
    const work: Promise<void> = readSegment(reader, object, segment, segmentBytes, newest)
      .catch((error: unknown) => {
        failure ??= { error };
      })
      .finally(() => underWay.delete(work));
    underWay.add(work);
  }
  await Promise.all(underWay);
  if (failure !== undefined) throw failure.error;
}

interface Segment {
  readonly name: string;
  readonly sealed: boolean;
  readonly partial: { readonly bytes: number } | undefined;
}

async function readSegment(
  reader: Reader,
  object: ObjectInfo,
  { name: segment, sealed, partial }: Segment,
  segmentBytes: number,
  newest: VerifiedBackup | undefined,
): Promise<void> {
  const { setting, context, identity, findings } = reader;
  const { store, name } = setting;
  const subject = store.describe(object.key);
  const named = partial === undefined ? { name: segment } : { name: segment, partial };
  await guarded(
    reader,
    subject,
    "wal-corrupt",
    async () => {
      const sidecar = await readSidecarOf(store, name, named, context.signal);
      const owner = newest?.details.systemIdentifier;
      if (owner !== undefined && sidecar.systemIdentifier !== owner) {
        const message = `${subject} is of the cluster ${sidecar.systemIdentifier}, but the newest backup of ${owner}.`;
        findings.error(
          "foreign-system",
          subject,
          message,
          "Give the other cluster another component name or prefix.",
        );
        return;
      }
      const { signal } = context;
      await readSettled(subject, async (tap) => {
        const stored = tap(await store.get(object.key, { signal }));
        const raw = await readAll(
          unpack(stored, { subject, sealed, identity, storedBytes: object.bytes, signal }),
        );
        const problem = compareSegment(raw, sidecar, segment, segmentBytes, partial?.bytes ?? segmentBytes);
        release(raw);
        if (problem !== undefined) throw new DefectError(subject, `${subject} ${problem}`);
      });
      reader.count(object.bytes);
    },
    store.describe(sidecarKeyOf(name, named)),
  );
}

/** What of a segment's content is not what its name and its sidecar say; ends the sentence that begins with the object. */
function compareSegment(
  raw: Buffer,
  sidecar: Awaited<ReturnType<typeof readSidecarOf>>,
  name: string,
  segmentBytes: number,
  bytes: number,
): string | undefined {
  if (raw.length !== bytes)
    return `holds ${raw.length} bytes of WAL, but should have ${bytes}: it is damaged.`;
  if (createHash("sha256").update(raw).digest("hex") !== sidecar.sha256) {
    return "was altered: its SHA-256 is not the one recorded when the segment was archived.";
  }
  if (sidecar.bytes !== bytes) {
    return `has ${bytes} bytes, but its sidecar says ${sidecar.bytes}: the sidecar was altered.`;
  }
  const header = readSegmentHeader(raw);
  const start = segmentStart(parseSegmentName(name, segmentBytes)?.number ?? 0, segmentBytes);
  if (header?.pageAddress !== start || header.systemIdentifier !== sidecar.systemIdentifier) {
    return "holds other WAL than its name says: it was copied or renamed.";
  }
  const { restorePoints = [], restorePoint } = sidecar;
  for (const point of restorePoint === undefined ? restorePoints : [...restorePoints, restorePoint]) {
    if (holdsPoint(raw, point)) continue;
    return `does not hold the restore point ${point.name} at ${point.lsn}, which its sidecar names: the sidecar was altered.`;
  }
  return undefined;
}
