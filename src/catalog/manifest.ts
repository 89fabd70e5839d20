import { z } from "zod";

/** One object of a backup: tar or text, plain or in zstd frames, sealed with age when the store is encrypted. */
const backupObject = z.object({
  /** Name below the backup's folder, such as `base.tar.zst.age`. */
  name: z.string(),
  /** `archive`: a tar of the data folder or of one tablespace. `file`: a single file. */
  role: z.enum(["archive", "file"]),
  /** Whether the object is sealed with age. */
  sealed: z.boolean(),
  /** Bytes before compression. */
  rawBytes: z.number(),
  /** Bytes of the object as it lies in the store. */
  storedBytes: z.number(),
  /** SHA-256 of the object as it lies in the store, in hex. */
  storedSha256: z.string(),
  /** Raw bytes in each zstd frame but the last; 0 when the object is not compressed. */
  frameBytes: z.number(),
  /** Compressed length of each frame, in order, before sealing; empty when the object is not compressed. */
  frames: z.array(z.number()),
});

/** `backups/<id>/manifest.json`: written last, so a backup exists when this does. Times are RFC 3339 in UTC. */
export const backupManifest = z.object({
  schema: z.literal("drillbook/backup-manifest/v1"),
  id: z.string(),
  service: z.string(),
  component: z.string(),
  /** The component's type, such as `postgres`, and the method, such as `physical`. */
  type: z.string(),
  method: z.string(),
  startedAt: z.string(),
  finishedAt: z.string(),
  objects: z.array(backupObject),
  /** What the component's own kind needs for recovery; its folder declares the shape. */
  details: z.unknown(),
});

export type BackupObject = z.infer<typeof backupObject>;
export type BackupManifest = z.infer<typeof backupManifest>;
