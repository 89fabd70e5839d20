import { createHash } from "node:crypto";
import { readSettled } from "../../archive/second-look.ts";
import { unpack } from "../../archive/unpack.ts";
import { objectKey } from "../../catalog/layout.ts";
import type { BackupObject } from "../../catalog/manifest.ts";
import { DefectError } from "../../errors.ts";
import { getParallel, getRange } from "../../stores/ranges.ts";
import { readAll } from "../../stores/store.ts";
import { parseDataManifest } from "../recovery/data-manifest.ts";
import type { VerifiedBackup } from "./backups.ts";
import { guarded, type Reader } from "./reader.ts";

/** Reads one part of a backup and compares it with what the manifest recorded. */
export async function readPart(reader: Reader, backup: VerifiedBackup, object: BackupObject): Promise<void> {
  const { setting, identity } = reader;
  const { store, name } = setting;
  const key = objectKey(name, backup.manifest.id, object.name);
  const subject = store.describe(key);
  if (object.sealed && identity === undefined) return;
  await guarded(reader, subject, "backup-corrupt", async () => {
    if (object.frameBytes === 0) await readPlain(reader, key, object, subject);
    else await readPacked(reader, key, object, subject);
    reader.count(object.storedBytes);
  });
}

/** PostgreSQL's own list of files lies there as it is. */
async function readPlain(
  { setting, context }: Reader,
  key: string,
  object: BackupObject,
  subject: string,
): Promise<void> {
  await readSettled(subject, async (tap) => {
    const bytes = await readAll(tap(await setting.store.get(key, { signal: context.signal })));
    if (createHash("sha256").update(bytes).digest("hex") !== object.storedSha256) {
      throw new DefectError(
        subject,
        `${subject} was altered: its SHA-256 is not the one that the backup recorded.`,
      );
    }
    if (object.name === "backup_manifest") parseDataManifest(bytes, subject);
  });
}

async function readPacked(
  { setting, context, identity }: Reader,
  key: string,
  object: BackupObject,
  subject: string,
): Promise<void> {
  const { store } = setting;
  const { sealed, frames, storedSha256, storedBytes } = object;
  const { signal } = context;
  const stored = getParallel(store, key, { bytes: storedBytes, signal });
  const reread = (offset: number, length: number) => getRange(store, key, { offset, length }, signal);
  let rawBytes = 0;
  const options = { subject, sealed, identity, frames, storedSha256, storedBytes, signal, reread };
  for await (const chunk of unpack(stored, options)) rawBytes += chunk.length;
  if (rawBytes === object.rawBytes) return;
  throw new DefectError(
    subject,
    `${subject} holds ${rawBytes} bytes, but the backup recorded ${object.rawBytes}.`,
  );
}
