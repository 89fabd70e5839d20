import { createHash } from "node:crypto";
import { DamagedArchive } from "../../archive/damage.ts";
import { unpack } from "../../archive/unpack.ts";
import { objectKey, parseWalKey, walPrefix } from "../../catalog/layout.ts";
import { lsn, parseSegmentName, segmentStart } from "../../catalog/lsn.ts";
import type { BackupObject } from "../../catalog/manifest.ts";
import { readSidecarOf, sidecarKeyOf } from "../../catalog/wal.ts";
import { AbortedError, DefectError, messageOf, UserError } from "../../errors.ts";
import type { FindingCode } from "../../finding.ts";
import { type Progress, startProgress } from "../../progress.ts";
import { release } from "../../release.ts";
import { type ObjectInfo, ObjectMissing, readAll } from "../../stores/store.ts";
import { parseDataManifest } from "../recovery/data-manifest.ts";
import { restorePointsIn } from "../wal/restore-points.ts";
import { readSegmentHeader } from "../wal/wal-messages.ts";
import type { VerifiedBackup } from "./backups.ts";
import { NEW_BACKUP, type Subject } from "./subject.ts";

/** What was read to its end and compared. */
export interface Read {
  readonly objects: number;
  readonly bytes: number;
  /** Ids of backups all of whose parts were read now and are sound. */
  readonly sound: ReadonlySet<string>;
}

/** Segments are small: several are read at a time. Parts of a backup are read one after another, each in parallel itself. */
const PARALLEL_SEGMENTS = 4;
const OTHER_KEY =
  "Give the identity that the objects were sealed for, or take a new backup for the present recipients.";

interface Reader extends Subject {
  readonly identity: string | undefined;
  readonly progress: Progress;
  count(bytes: number): void;
}

/** Reads the parts of the backups and all WAL, or today's share of them, and compares every byte with what was recorded. */
export async function readEverything(
  subject: Subject,
  backups: readonly VerifiedBackup[],
  heldBytes: number,
): Promise<Read> {
  const { context, request, findings } = subject;
  let objects = 0;
  let bytes = 0;
  const expected = request.share === undefined ? heldBytes : heldBytes / request.share.of;
  const progress = startProgress(context, `Reading the objects of ${subject.setting.name}`, expected);
  const reader: Reader = {
    ...subject,
    identity: identityOf(subject),
    progress,
    count(more) {
      objects += 1;
      bytes += more;
      progress.add(more);
    },
  };
  const sound = new Set<string>();
  for (const backup of backups) {
    if (!backup.whole) continue;
    const before = findings.errors();
    let all = true;
    for (const object of backup.manifest.objects) {
      const chosen = isChosen(request.share, `${backup.manifest.id}/${object.name}`);
      if (chosen) await readPart(reader, backup, object);
      all &&= chosen;
    }
    if (all && findings.errors() === before) sound.add(backup.manifest.id);
  }
  await readWal(reader, backups.at(-1));
  progress.done();
  return { objects, bytes, sound };
}

/** Undefined: no variable is set for it, or it is unusable. What is sealed cannot be read then. */
function identityOf({ setting, findings }: Subject): string | undefined {
  if (setting.encryption.recipients.length === 0) return undefined;
  const how = "Set the variable of encryption.identity for this step.";
  try {
    const identity = setting.encryption.identity();
    if (identity !== undefined) return identity;
    findings.error(
      "not-verified",
      setting.name,
      `The store of ${setting.name} has no identity, so no sealed object could be read.`,
      how,
    );
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    const message = `No sealed object of ${setting.name} could be read: ${messageOf(error)}`;
    findings.error("not-verified", setting.name, message, how);
  }
  return undefined;
}

/** Which objects are read today: each has its day, by its name. */
export function isChosen(
  share: { readonly part: number; readonly of: number } | undefined,
  name: string,
): boolean {
  if (share === undefined) return true;
  return createHash("sha256").update(name).digest().readUInt32BE(0) % share.of === share.part;
}

async function readPart(reader: Reader, backup: VerifiedBackup, object: BackupObject): Promise<void> {
  const { setting, context, identity } = reader;
  const { store, name } = setting;
  const key = objectKey(name, backup.manifest.id, object.name);
  const subject = store.describe(key);
  if (object.sealed && identity === undefined) return;
  await guarded(reader, subject, "backup-corrupt", async () => {
    const stored = await store.get(key, { signal: context.signal });
    const { storedSha256, storedBytes } = object;
    const recorded = { subject, storedSha256, storedBytes, signal: context.signal };
    const raw =
      object.frameBytes === 0
        ? compareStored(stored, recorded)
        : unpack(stored, { ...recorded, sealed: object.sealed, identity, frames: object.frames });
    let rawBytes = 0;
    const kept: Uint8Array[] = [];
    for await (const chunk of raw) {
      rawBytes += chunk.length;
      if (object.name === "backup_manifest") kept.push(Uint8Array.from(chunk));
    }
    reader.count(storedBytes);
    if (rawBytes !== object.rawBytes) {
      throw new DefectError(
        subject,
        `${subject} holds ${rawBytes} bytes, but the backup recorded ${object.rawBytes}.`,
      );
    }
    if (kept.length > 0) parseDataManifest(Buffer.concat(kept), subject);
  });
}

/** An object that is neither compressed nor sealed. */
async function* compareStored(
  stored: AsyncIterable<Uint8Array>,
  recorded: { readonly subject: string; readonly storedSha256: string; readonly storedBytes: number },
): AsyncGenerator<Uint8Array> {
  const { subject, storedSha256, storedBytes } = recorded;
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of stored) {
    hash.update(chunk);
    bytes += chunk.length;
    yield chunk;
  }
  if (bytes === storedBytes && hash.digest("hex") === storedSha256) return;
  throw new DefectError(
    subject,
    `${subject} was altered: its SHA-256 is not the one recorded when it was written.`,
  );
}

async function readWal(reader: Reader, newest: VerifiedBackup | undefined): Promise<void> {
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
    while (underWay.size >= PARALLEL_SEGMENTS) await Promise.race(underWay);
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
      const stored = await store.get(object.key, { signal: context.signal });
      const raw = await readAll(
        unpack(stored, { subject, sealed, identity, storedBytes: object.bytes, signal: context.signal }),
      );
      reader.count(object.bytes);
      const problem = compareSegment(raw, sidecar, segment, segmentBytes, partial?.bytes ?? segmentBytes);
      release(raw);
      if (problem !== undefined) throw new DefectError(subject, `${subject} ${problem}`);
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
  const points = restorePointsIn(raw);
  for (const point of [
    ...(sidecar.restorePoints ?? []),
    ...(sidecar.restorePoint ? [sidecar.restorePoint] : []),
  ]) {
    // A record that began in the segment before is not seen here.
    if (lsn(point.lsn) - start < 144n) continue;
    if (points.some((one) => one.name === point.name && one.lsn === point.lsn)) continue;
    return `does not hold the restore point ${point.name} at ${point.lsn}, which its sidecar names: the sidecar was altered.`;
  }
  return undefined;
}

/** Turns what is wrong with an object into a finding. An object that retention removed meanwhile is none. */
async function guarded(
  { context, findings }: Subject,
  subject: string,
  code: FindingCode,
  work: () => Promise<void>,
  companion?: string,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (context.signal.aborted || error instanceof AbortedError) throw error;
    if (error instanceof ObjectMissing) {
      // Without its sidecar a segment does not count, which is a gap where it is needed.
      if (error.subject === companion) return;
      findings.error(
        "not-verified",
        subject,
        `${subject} was listed, but is not there any more.`,
        "Verify again.",
      );
    } else if (error instanceof DamagedArchive && error.kind === "wrong-key") {
      findings.error("key-mismatch", error.subject, error.message, OTHER_KEY);
    } else if (error instanceof DefectError) {
      findings.error(code, error.subject, error.message, NEW_BACKUP);
    } else {
      const message = `${subject} could not be read: ${messageOf(error)}`;
      findings.error(
        "not-verified",
        subject,
        message,
        "Look at the store and the network, and verify again.",
      );
    }
  }
}
