import { z } from "zod";
import { lsn } from "../catalog/lsn.ts";
import type { BackupManifest } from "../catalog/manifest.ts";
import { restorePoint } from "../catalog/wal.ts";
import { DefectError } from "../errors.ts";

/**
 * `details` of a physical backup's manifest: what recovery and people need to know of the cluster. Times are
 * RFC 3339 in UTC with microseconds (`2026-01-25T12:00:00.123456Z`), taken from the server's clock; LSNs are spelled
 * `0/1A2B3C4D`.
 */

const database = z.object({
  name: z.string(),
  encoding: z.string(),
  /** `libc`, `icu` or `builtin`. */
  localeProvider: z.string(),
  collate: z.string(),
  ctype: z.string(),
  /** The locale of the providers `icu` and `builtin`. */
  locale: z.string().nullable(),
  /** Version of the collation library that the database's indexes were built with. */
  collationVersion: z.string().nullable(),
});

export const postgresDetails = z.object({
  systemIdentifier: z.string(),
  /** `17.5` */
  serverVersion: z.string(),
  /** `170005` */
  serverVersionNum: z.number(),
  /** `17` */
  major: z.number(),
  timeline: z.number(),
  /** Where recovery starts to read WAL. */
  startLsn: z.string(),
  /** Recovery is consistent from here on; of a backup that was taken from a standby it may be a little earlier. */
  stopLsn: z.string(),
  fromStandby: z.boolean().optional(),
  /** Everything that was committed before is in the backup. */
  startTime: z.string(),
  /** Not before the backup's real end: a time target must be later. */
  stopTime: z.string(),
  /** Which transactions had ended at `stopTime`, as `pg_current_snapshot()` spells it; absent in older manifests. */
  stopSnapshot: z.string().optional(),
  walSegmentBytes: z.number(),
  /** Bytes of all archives before compression; recovery needs at least so much disk. */
  dataBytes: z.number(),
  /** `oid` names the archive (`<oid>.tar.zst`) and the link below `pg_tblspc`. Empty when there are none. */
  tablespaces: z.array(z.object({ oid: z.string(), location: z.string(), bytes: z.number() })),
  dataChecksums: z.boolean(),
  /** Name of the role with oid 10. */
  bootstrapSuperuser: z.string(),
  /** Where the runbook's checks run: the database of the source's connection. */
  database: z.string(),
  databases: z.array(database),
  /** Extensions of `database`. */
  extensions: z.array(z.object({ name: z.string(), version: z.string() })),
  /** Settings of the source by name, such as `max_connections`; one that may not be read is absent. */
  settings: z.record(z.string(), z.string()),
  restorePoint: restorePoint.nullable(),
  /**
   * Number of the WAL segment with which this backup began a new chain, because the server no longer had what lies
   * before it; absent when the chain goes on.
   */
  newChain: z.number().optional(),
});
export type PostgresDetails = z.infer<typeof postgresDetails>;

/**
 * The end of the WAL without which no recovery of a backup can end. A server that recovers a standby's backup notices
 * that it is consistent only with the record that follows.
 */
export function endOfNeededWal(details: Pick<PostgresDetails, "stopLsn" | "fromStandby">): bigint {
  return lsn(details.stopLsn) + (details.fromStandby ? 1n : 0n);
}

/** The details of a backup of PostgreSQL; `subject` names its manifest in the DefectError. */
export function readDetails(manifest: BackupManifest, subject: string): PostgresDetails {
  const parsed = postgresDetails.safeParse(manifest.details);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new DefectError(
    subject,
    `${subject} does not describe a PostgreSQL backup: ${issue?.path.join(".") ?? "details"}: ${issue?.message ?? "unreadable"}.`,
  );
}
