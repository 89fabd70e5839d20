import { listBackups, readBackup } from "../../catalog/backups.ts";
import { manifestKey } from "../../catalog/layout.ts";
import { lsn } from "../../catalog/lsn.ts";
import type { BackupManifest } from "../../catalog/manifest.ts";
import { DefectError } from "../../errors.ts";
import { parseTime } from "../../targets.ts";
import { type PostgresDetails, readDetails } from "../details.ts";
import type { StoreSetting } from "../store-setting.ts";

/** A backup that recovery can begin with. */
export interface Candidate {
  readonly manifest: BackupManifest;
  readonly details: PostgresDetails;
  /** It is consistent from here on: microseconds since 1970, and the position in the WAL. */
  readonly stopMicros: bigint;
  readonly stopLsn: bigint;
}

/** Physical backups of PostgreSQL, oldest first; only the one of that id when one is given. */
export async function findCandidates(
  setting: StoreSetting,
  backupId: string | undefined,
  signal: AbortSignal,
): Promise<Candidate[]> {
  const { store, name } = setting;
  const manifests =
    backupId === undefined
      ? await listBackups(store, name, signal)
      : [await readBackup(store, name, backupId, signal)];
  return manifests
    .filter((manifest) => manifest.type === "postgres" && manifest.method === "physical")
    .map((manifest) => {
      const subject = store.describe(manifestKey(name, manifest.id));
      const details = readDetails(manifest, subject);
      const stopMicros = readMicros(details.stopTime, subject);
      return { manifest, details, stopMicros, stopLsn: lsn(details.stopLsn) };
    });
}

/** Microseconds since 1970 of a time that we wrote; a {@link DefectError} names the object that holds something else. */
export function readMicros(text: string, subject: string): bigint {
  const micros = parseTime(text);
  if (micros !== undefined) return micros;
  throw new DefectError(subject, `${subject} holds "${text}" where a time should be.`);
}
