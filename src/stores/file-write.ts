import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { copyFile, type FileHandle, link, mkdir, open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { codeOf } from "../errors.ts";

const FILE_MODE = 0o640;
const FOLDER_MODE = 0o750;
const NO_HARD_LINKS = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"]);

/**
 * Writes a file so that it is visible only when it is whole and on the disk: a hidden sibling is written and
 * flushed, then takes the name. `fill` writes the content. When anything fails, nothing is left.
 * Returns false, with the target untouched, when `exclusive` and the name is taken.
 */
export async function writeWhole(
  target: string,
  fill: (file: FileHandle) => Promise<void>,
  exclusive = false,
): Promise<boolean> {
  const { file, path, made } = await openUnfinished(target);
  let placed = true;
  try {
    try {
      await fill(file);
      await file.sync();
    } finally {
      await file.close();
    }
    if (exclusive) placed = await claim(path, target);
    else await rename(path, target);
  } finally {
    // After a rename there is nothing to remove.
    await rm(path, { force: true });
  }
  if (placed) await flushFolders(dirname(target), made);
  return placed;
}

interface Unfinished {
  readonly file: FileHandle;
  readonly path: string;
  /** The topmost folder that had to be made. */
  readonly made: string | undefined;
}

async function openUnfinished(target: string): Promise<Unfinished> {
  const folder = dirname(target);
  const path = join(folder, `.drillbook-${process.pid}-${randomBytes(6).toString("hex")}.partial`);
  for (let attempt = 1; ; attempt += 1) {
    const made = await mkdir(folder, { recursive: true, mode: FOLDER_MODE });
    try {
      return { file: await open(path, "wx", FILE_MODE), path, made };
    } catch (error) {
      // A delete in another process may have removed the still empty folder in between.
      if (codeOf(error) !== "ENOENT" || attempt === 5) throw error;
    }
  }
}

/** Gives the finished file its name unless the name is taken; of two processes exactly one wins. */
async function claim(unfinished: string, target: string): Promise<boolean> {
  try {
    await link(unfinished, target);
    return true;
  } catch (error) {
    const code = codeOf(error);
    if (code === "EEXIST") return false;
    if (code === undefined || !NO_HARD_LINKS.has(code)) throw error;
  }
  return claimByCopy(unfinished, target);
}

/** For file systems with no hard links (FAT, some shares): still exclusive, but visible while it is being copied. */
async function claimByCopy(unfinished: string, target: string): Promise<boolean> {
  try {
    await copyFile(unfinished, target, constants.COPYFILE_EXCL);
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
  const file = await open(target, "r+");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
  return true;
}

/** Makes new names survive a power cut: the folder's own, and those of the folders that were made for it. */
async function flushFolders(folder: string, made: string | undefined): Promise<void> {
  const last = made === undefined ? folder : dirname(made);
  for (let current = folder; ; current = dirname(current)) {
    await flushFolder(current);
    if (current === last || current === dirname(current)) return;
  }
}

async function flushFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    // Some file systems can not flush a folder, and above the store this user may not open it.
    if (!["EINVAL", "EPERM", "EACCES", "EISDIR", "ENOTSUP", "EBADF"].includes(codeOf(error) ?? ""))
      throw error;
  }
}
