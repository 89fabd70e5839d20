import { type FileHandle, mkdir, open, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { TarEntry } from "../../archive/tar.ts";
import { DefectError } from "../../errors.ts";
import type { Scratch } from "../scratch/scratch.ts";
import { startChecksum } from "./checksum.ts";
import type { DataManifest, ManifestFile } from "./data-manifest.ts";

/** The file without which no server starts: it gets its name when everything else is proven. */
export const CONTROL_FILE = "global/pg_control";
export const PENDING_CONTROL_FILE = "global/pg_control.pending";

/** Files that pg_verifybackup does not look at, and that recovery writes or leaves out itself. */
const IGNORED = new Set(["backup_manifest", "postgresql.auto.conf", "recovery.signal", "standby.signal"]);

/** Up to this size a file is gathered in memory and written beside others. */
const SMALL_BYTES = 2 ** 20;
const MAX_WRITES = 8;

/** Writes the entries of a backup's archives to disk and checks them against PostgreSQL's own manifest. */
export interface Landing {
  /** `folder` is where the archive's paths are relative to: empty, or `pg_tblspc/<oid>`. */
  take(entry: TarEntry, folder: string, subject: string): Promise<void>;
  /** Waits for the last write; throws when a file of the manifest has not come. */
  finish(subjectOf: (path: string) => string): Promise<void>;
  /** Waits until nothing is being written any more. Never throws. */
  settle(): Promise<void>;
  /** Files of which the manifest has no checksum. */
  unverified(): number;
}

export function startLanding(scratch: Scratch, manifest: DataManifest): Landing {
  const folders = new Map<string, Promise<void>>();
  const writes = new Set<Promise<void>>();
  const landed = new Set<string>();
  let failure: unknown;
  let unverified = 0;

  /** Parents first, each of them once; mode and owner are the server's, whatever the archive says. */
  function makeFolder(path: string): Promise<void> {
    const known = folders.get(path);
    if (known !== undefined) return known;
    const made = path === "." ? Promise.resolve() : makeChild(path);
    folders.set(path, made);
    return made;
  }

  async function makeChild(path: string): Promise<void> {
    await makeFolder(dirname(path));
    const full = join(scratch.data, path);
    await mkdir(full, { mode: 0o700 }).catch(allowExisting);
    await scratch.own(full);
  }

  async function create(path: string): Promise<FileHandle> {
    await makeFolder(dirname(path));
    // "wx": a second entry of the same name, or a link in its place, must not be written through.
    const handle = await open(
      join(scratch.data, path === CONTROL_FILE ? PENDING_CONTROL_FILE : path),
      "wx",
      0o600,
    );
    if (scratch.user !== undefined) await handle.chown(scratch.user.uid, scratch.user.gid);
    return handle;
  }

  async function takeFile(entry: TarEntry, path: string, subject: string): Promise<void> {
    const expected = manifest.files.get(path);
    const ignored = isIgnored(path);
    if (expected === undefined && !ignored) {
      throw new DefectError(
        subject,
        `${subject} holds the file ${path}, which backup_manifest does not name.`,
      );
    }
    if (landed.has(path)) throw new DefectError(subject, `${subject} holds the file ${path} twice.`);
    landed.add(path);
    if (ignored) {
      // Settings and signals of the source do not belong into the scratch server; an empty file is what initdb makes.
      if (path === "postgresql.auto.conf") await writeSoon(path, []);
      return;
    }
    if (expected === undefined) return;
    if (expected.bytes !== entry.size)
      throw mismatch(subject, path, `has ${entry.size} bytes, not ${expected.bytes}`);
    if (expected.algorithm === "NONE") unverified += 1;
    if (entry.size <= SMALL_BYTES) await takeSmall(entry, path, expected, subject);
    else await takeLarge(entry, path, expected, subject);
  }

  async function takeSmall(
    entry: TarEntry,
    path: string,
    expected: ManifestFile,
    subject: string,
  ): Promise<void> {
    const checksum = startChecksum(expected.algorithm);
    const chunks: Uint8Array[] = [];
    for await (const chunk of entry.body) {
      checksum.update(chunk);
      chunks.push(chunk);
    }
    verify(checksum.digest(), expected, path, subject);
    await writeSoon(path, chunks);
  }

  async function takeLarge(
    entry: TarEntry,
    path: string,
    expected: ManifestFile,
    subject: string,
  ): Promise<void> {
    const checksum = startChecksum(expected.algorithm);
    const handle = await create(path);
    try {
      for await (const chunk of entry.body) {
        const written = handle.writeFile(chunk);
        checksum.update(chunk);
        await written;
      }
    } finally {
      await handle.close();
    }
    verify(checksum.digest(), expected, path, subject);
  }

  /** Starts a write and returns when there is room for another. */
  async function writeSoon(path: string, chunks: readonly Uint8Array[]): Promise<void> {
    const write = writeWhole(path, chunks)
      .catch((error: unknown) => {
        failure ??= error;
      })
      .finally(() => writes.delete(write));
    writes.add(write);
    if (writes.size >= MAX_WRITES) await Promise.race(writes);
    if (failure !== undefined) throw failure;
  }

  async function writeWhole(path: string, chunks: readonly Uint8Array[]): Promise<void> {
    const handle = await create(path);
    try {
      for (const chunk of chunks) await handle.writeFile(chunk);
    } finally {
      await handle.close();
    }
  }

  async function takeLink(path: string, subject: string): Promise<void> {
    const oid = /^pg_tblspc\/(\d+)$/.exec(path)?.[1];
    if (oid === undefined) {
      throw new DefectError(subject, `${subject} holds the link ${path}, which no PostgreSQL backup has.`);
    }
    const own = join(scratch.tablespaces, oid);
    await scratch.makeFolder(own);
    await makeFolder(dirname(path));
    await symlink(own, join(scratch.data, path));
    // Files of the tablespace go through the link.
    folders.set(path, Promise.resolve());
  }

  async function settle(): Promise<void> {
    await Promise.allSettled([...writes, ...folders.values()]);
  }

  return {
    async take(entry, folder, subject) {
      const path = folder === "" ? entry.path : join(folder, entry.path);
      if (path === "." || path === folder) return;
      if (entry.type === "directory") return makeFolder(path);
      if (entry.type === "symlink") return takeLink(path, subject);
      if (entry.type === "file") return takeFile(entry, path, subject);
      throw new DefectError(
        subject,
        `${subject} holds the hard link ${path}, which no PostgreSQL backup has.`,
      );
    },
    async finish(subjectOf) {
      await settle();
      if (failure !== undefined) throw failure;
      for (const path of manifest.files.keys()) {
        if (landed.has(path) || isIgnored(path)) continue;
        const subject = subjectOf(path);
        throw new DefectError(subject, `${subject} lacks the file ${path}, which backup_manifest names.`);
      }
    },
    settle,
    unverified: () => unverified,
  };
}

function isIgnored(path: string): boolean {
  return IGNORED.has(path) || path.startsWith("pg_wal/");
}

function verify(digest: string, expected: ManifestFile, path: string, subject: string): void {
  if (digest === expected.checksum) return;
  throw mismatch(subject, path, `does not match its ${expected.algorithm} checksum in backup_manifest`);
}

function mismatch(subject: string, path: string, what: string): DefectError {
  return new DefectError(subject, `The file ${path} in ${subject} ${what}: the backup is damaged.`);
}

function allowExisting(error: NodeJS.ErrnoException): void {
  if (error.code !== "EEXIST") throw error;
}
