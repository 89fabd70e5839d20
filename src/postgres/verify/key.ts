import { findHeader, openHeader } from "../../archive/age.ts";
import { DamagedArchive } from "../../archive/damage.ts";
import { objectKey } from "../../catalog/layout.ts";
import { DefectError, UserError } from "../../errors.ts";
import { ObjectMissing, readAll } from "../../stores/store.ts";
import type { VerifiedBackup } from "./backups.ts";
import { NEW_BACKUP, type Subject } from "./subject.ts";

/** More than any age header has. */
const HEADER_BYTES = 64 * 1024;

/** Tries the identity on the header of one part of the newest backup: nothing else of it is read. */
export async function inspectKey(
  { setting, context, findings }: Subject,
  newest: VerifiedBackup,
): Promise<void> {
  const { store, name, encryption } = setting;
  const object = newest.manifest.objects.find((one) => one.sealed);
  if (object === undefined) return;
  let identity: string | undefined;
  try {
    identity = encryption.identity();
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
  }
  if (identity === undefined) {
    findings.skip(`Whether the identity opens the backups of ${name}: none is given.`);
    return;
  }
  const key = objectKey(name, newest.manifest.id, object.name);
  const subject = store.describe(key);
  try {
    const range = { offset: 0, length: Math.min(HEADER_BYTES, object.storedBytes) };
    const start = await readAll(await store.get(key, { signal: context.signal, range }));
    const header = findHeader(start, subject);
    // Nothing seals with so long a header, and one that is cut short is a part of the wrong size.
    if (header !== undefined) await openHeader(start.subarray(0, header), identity, subject);
  } catch (error) {
    // That it is missing is another finding.
    if (error instanceof ObjectMissing) return;
    if (error instanceof DamagedArchive && error.kind === "wrong-key") {
      const remedy =
        "Give the identity that the backups were sealed for: without it nothing can be recovered.";
      findings.error("key-mismatch", subject, error.message, remedy);
    } else if (error instanceof DefectError) {
      findings.error("backup-corrupt", subject, error.message, NEW_BACKUP);
    } else throw error;
  }
}
