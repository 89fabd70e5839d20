import { createHash } from "node:crypto";
import { z } from "zod";
import { DefectError } from "../../errors.ts";

/** How a file's bytes were summed up when the backup was taken. */
export type ChecksumAlgorithm = "NONE" | "CRC32C" | "SHA224" | "SHA256" | "SHA384" | "SHA512";

export interface ManifestFile {
  readonly bytes: number;
  readonly algorithm: ChecksumAlgorithm;
  /** In hex; empty for NONE. */
  readonly checksum: string;
}

/** PostgreSQL's `backup_manifest`: every file of the data folder and of its tablespaces. */
export interface DataManifest {
  /** By path below the data folder, such as `base/1/1259` or `pg_tblspc/16384/PG_17_202406281/5/16385`. */
  readonly files: ReadonlyMap<string, ManifestFile>;
  /** From PostgreSQL 17 on. */
  readonly systemIdentifier: string | undefined;
}

const file = z.object({
  Path: z.string().optional(),
  "Encoded-Path": z.string().optional(),
  Size: z.number(),
  "Checksum-Algorithm": z.enum(["NONE", "CRC32C", "SHA224", "SHA256", "SHA384", "SHA512"]).optional(),
  Checksum: z.string().optional(),
});

const manifest = z.object({
  "PostgreSQL-Backup-Manifest-Version": z.number(),
  Files: z.array(file),
  "Manifest-Checksum": z.string(),
});

/**
 * Reads a `backup_manifest` and checks its own checksum, which is the SHA-256 of all lines but the last
 * (https://www.postgresql.org/docs/current/backup-manifest-format.html). Throws a {@link DefectError} naming `subject`.
 */
export function parseDataManifest(bytes: Buffer, subject: string): DataManifest {
  const lastLine = bytes.lastIndexOf("\n", bytes.length - 2) + 1;
  const digest = createHash("sha256").update(bytes.subarray(0, lastLine)).digest("hex");
  const text = bytes.toString("utf8");
  let parsed: ReturnType<typeof manifest.safeParse>;
  try {
    parsed = manifest.safeParse(JSON.parse(text));
  } catch (cause) {
    throw damaged(subject, "it is not JSON", cause);
  }
  if (!parsed.success) throw damaged(subject, "it does not list files");
  if (parsed.data["Manifest-Checksum"].toLowerCase() !== digest) {
    throw damaged(subject, "its own checksum does not match");
  }
  const files = new Map<string, ManifestFile>();
  for (const entry of parsed.data.Files) {
    const path = entry.Path ?? decodePath(entry["Encoded-Path"], subject);
    if (!isSafePath(path)) throw damaged(subject, `it names the file "${path}" outside the data folder`);
    const algorithm = entry["Checksum-Algorithm"] ?? "NONE";
    files.set(path, { bytes: entry.Size, algorithm, checksum: (entry.Checksum ?? "").toLowerCase() });
  }
  // A system identifier has 64 bits: as a JSON number it would be rounded.
  const systemIdentifier = /^"System-Identifier":\s*(\d+)/m.exec(text.slice(0, 1_000))?.[1];
  return { files, systemIdentifier };
}

function decodePath(hex: string | undefined, subject: string): string {
  const bytes = Buffer.from(hex ?? "", "hex");
  const path = bytes.toString("utf8");
  if (hex !== undefined && Buffer.from(path, "utf8").equals(bytes)) return path;
  throw new DefectError(
    subject,
    `${subject} lists a file whose name is not UTF-8, which Drillbook cannot restore: rename it in the source's data folder and take a new backup.`,
  );
}

/** A relative path without `.` or `..`. */
export function isSafePath(path: string): boolean {
  if (path === "" || path.startsWith("/") || path.includes("\0")) return false;
  return path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}

function damaged(subject: string, what: string, cause?: unknown): DefectError {
  return new DefectError(subject, `${subject} is damaged: ${what}.`, { cause });
}
