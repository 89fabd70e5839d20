import { createHash } from "node:crypto";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { readSettled } from "../../archive/second-look.ts";
import { readTar } from "../../archive/tar.ts";
import { unpack } from "../../archive/unpack.ts";
import { objectKey } from "../../catalog/layout.ts";
import type { BackupManifest, BackupObject } from "../../catalog/manifest.ts";
import type { Context } from "../../context.ts";
import { AbortedError, DefectError } from "../../errors.ts";
import { startProgress } from "../../progress.ts";
import { getParallel, getRange } from "../../stores/ranges.ts";
import { ObjectMissing, readAll } from "../../stores/store.ts";
import type { PostgresDetails } from "../details.ts";
import type { Scratch } from "../scratch/scratch.ts";
import type { StoreSetting } from "../store-setting.ts";
import { parseDataManifest } from "./data-manifest.ts";
import { CONTROL_FILE, PENDING_CONTROL_FILE, startLanding } from "./land-files.ts";

const MANIFEST_OBJECT = "backup_manifest";
const BASE_ARCHIVE = "base.tar";

/** What was restored. */
export interface RestoredData {
  /** Bytes fetched from the store. */
  readonly bytes: number;
  /** Files of the backup without a checksum: their size alone was compared. */
  readonly unverifiedFiles: number;
}

/**
 * Restores the files of a backup into `scratch.data`, ready for recovery: everything is compared with PostgreSQL's
 * `backup_manifest` while it lands, and `global/pg_control` gets its name last, so a broken restore cannot start. Writes no
 * `recovery.signal`. Throws a {@link DefectError} that names the object and the file.
 */
export async function restoreDataFolder(
  setting: StoreSetting,
  manifest: BackupManifest,
  details: PostgresDetails,
  scratch: Scratch,
  context: Context,
): Promise<RestoredData> {
  const { store, name } = setting;
  const subjectOf = (object: BackupObject) => store.describe(objectKey(name, manifest.id, object.name));
  const archives = manifest.objects.filter((object) => object.role === "archive");
  const list = manifest.objects.find((object) => unpackedName(object) === MANIFEST_OBJECT);
  const base = archives.find((object) => unpackedName(object) === BASE_ARCHIVE);
  if (list === undefined || base === undefined) {
    const subject = store.describe(objectKey(name, manifest.id, "manifest.json"));
    throw new DefectError(
      subject,
      `${subject} names no ${list === undefined ? MANIFEST_OBJECT : BASE_ARCHIVE}.`,
    );
  }
  const listBytes = await readPlain(setting, manifest, list, context);
  const files = parseDataManifest(listBytes, subjectOf(list));
  if (files.systemIdentifier !== undefined && files.systemIdentifier !== details.systemIdentifier) {
    throw new DefectError(
      subjectOf(list),
      `${subjectOf(list)} is of the cluster ${files.systemIdentifier}, but the backup of ${details.systemIdentifier}.`,
    );
  }

  const storedBytes = archives.reduce((sum, object) => sum + object.storedBytes, 0);
  const progress = startProgress(context, `Fetching backup ${manifest.id}`, storedBytes);
  const landing = startLanding(scratch, files);
  // The base archive first: it holds the links to the tablespaces.
  const ordered = [base, ...archives.filter((object) => object !== base)];
  try {
    for (const object of ordered) {
      const subject = subjectOf(object);
      const folder = folderOf(object, subject);
      const raw = readArchive(setting, manifest, object, context, (bytes) => progress.add(bytes));
      for await (const entry of readTar(raw, subject)) {
        if (context.signal.aborted) throw new AbortedError();
        await landing.take(entry, folder, subject);
      }
    }
    await landing.finish((path) => {
      const oid = /^pg_tblspc\/(\d+)\//.exec(path)?.[1];
      return subjectOf(ordered.find((object) => unpackedName(object) === `${oid}.tar`) ?? base);
    });
  } catch (error) {
    await landing.settle();
    throw error;
  }
  // Where pg_basebackup leaves it too, so that pg_verifybackup can be run on the folder.
  await scratch.writeFile(join(scratch.data, MANIFEST_OBJECT), listBytes);
  await rename(join(scratch.data, PENDING_CONTROL_FILE), join(scratch.data, CONTROL_FILE));
  progress.done();
  return { bytes: storedBytes + list.storedBytes, unverifiedFiles: landing.unverified() };
}

/** Where an archive's paths are relative to. */
function folderOf(object: BackupObject, subject: string): string {
  const name = unpackedName(object);
  if (name === BASE_ARCHIVE) return "";
  const oid = /^(\d+)\.tar$/.exec(name)?.[1];
  if (oid !== undefined) return `pg_tblspc/${oid}`;
  throw new DefectError(subject, `${subject} is neither the base archive nor that of a tablespace.`);
}

/** `base.tar` of `base.tar.zst.age`. */
function unpackedName(object: BackupObject): string {
  return object.name.replace(/(?:\.zst)?(?:\.age)?$/, "");
}

/** A single file, stored as it is; its digest is compared. */
async function readPlain(
  setting: StoreSetting,
  manifest: BackupManifest,
  object: BackupObject,
  context: Context,
): Promise<Buffer> {
  const key = objectKey(setting.name, manifest.id, object.name);
  const subject = setting.store.describe(key);
  return await readSettled(subject, async (tap) => {
    const stored = getParallel(setting.store, key, { bytes: object.storedBytes, signal: context.signal });
    const bytes = await readAll(tap(missingIsDefect(stored, subject, manifest.id)));
    if (createHash("sha256").update(bytes).digest("hex") === object.storedSha256) return bytes;
    throw new DefectError(
      subject,
      `${subject} was altered: its SHA-256 is not the one that the backup recorded.`,
    );
  });
}

/** The raw bytes of an archive. */
function readArchive(
  setting: StoreSetting,
  manifest: BackupManifest,
  object: BackupObject,
  context: Context,
  onBytes: (bytes: number) => void,
): AsyncIterable<Buffer> {
  const { store, encryption } = setting;
  const { signal } = context;
  const key = objectKey(setting.name, manifest.id, object.name);
  const subject = store.describe(key);
  const { storedBytes, storedSha256, frames, sealed } = object;
  const stored = getParallel(store, key, { bytes: storedBytes, signal });
  const counted = missingIsDefect(stored, subject, manifest.id, onBytes);
  const identity = sealed ? encryption.identity() : undefined;
  const reread = (offset: number, length: number) => getRange(store, key, { offset, length }, signal);
  return unpack(counted, { subject, sealed, identity, frames, storedSha256, storedBytes, signal, reread });
}

/** Here a missing object is a defect, because the backup's manifest names it. */
async function* missingIsDefect(
  source: AsyncIterable<Buffer>,
  subject: string,
  backupId: string,
  onBytes: (bytes: number) => void = () => undefined,
): AsyncGenerator<Buffer, void, void> {
  try {
    for await (const chunk of source) {
      onBytes(chunk.length);
      yield chunk;
    }
  } catch (error) {
    if (!(error instanceof ObjectMissing)) throw error;
    throw new DefectError(subject, `${subject} is missing: the backup ${backupId} is incomplete.`, {
      cause: error,
    });
  }
}
