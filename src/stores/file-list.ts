import type { Dirent, Stats } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { codeOf } from "../errors.ts";
import { compareKeys, UNFINISHED } from "./keys.ts";
import { throwIfAborted } from "./signals.ts";
import type { ObjectInfo } from "./store.ts";

const STATS_AT_ONCE = 64;

/**
 * The files below `root` whose path starts with `prefix`, in ascending order of keys. One folder at a time is held
 * in memory. What vanishes while the listing runs is left out.
 */
export async function* listFiles(
  root: string,
  prefix: string,
  signal: AbortSignal,
): AsyncGenerator<ObjectInfo> {
  const folder = prefix.slice(0, prefix.lastIndexOf("/") + 1);
  yield* walk(root, folder, prefix, signal);
}

interface Entry {
  /** The key; of a folder with a slash at its end, which puts `a-b/c` before `a/b` as S3 does. */
  readonly key: string;
  readonly isFolder: boolean;
}

async function* walk(
  root: string,
  folder: string,
  prefix: string,
  signal: AbortSignal,
): AsyncGenerator<ObjectInfo> {
  const entries = await readFolder(root, folder, prefix);
  for (let from = 0; from < entries.length; from += STATS_AT_ONCE) {
    throwIfAborted(signal);
    const batch = entries.slice(from, from + STATS_AT_ONCE);
    const infos = await Promise.all(batch.map((entry) => describeEntry(root, entry)));
    for (const [index, entry] of batch.entries()) {
      if (entry.isFolder) yield* walk(root, entry.key, prefix, signal);
      const info = infos[index];
      if (info !== undefined) yield info;
    }
  }
}

async function readFolder(root: string, folder: string, prefix: string): Promise<Entry[]> {
  const found = await orUndefined(readdir(join(root, folder), { withFileTypes: true }));
  const entries: Entry[] = [];
  for (const dirent of found ?? []) {
    if (UNFINISHED.test(dirent.name)) continue;
    const key = folder + dirent.name;
    if (await isFolder(dirent, join(root, key))) {
      const inside = `${key}/`;
      if (inside.startsWith(prefix) || prefix.startsWith(inside))
        entries.push({ key: inside, isFolder: true });
    } else if (key.startsWith(prefix)) {
      entries.push({ key, isFolder: false });
    }
  }
  return entries.sort((a, b) => compareKeys(a.key, b.key));
}

/** A symbolic link counts as what it leads to: people move a large folder to another disk that way. */
async function isFolder(dirent: Dirent, path: string): Promise<boolean> {
  if (!dirent.isSymbolicLink()) return dirent.isDirectory();
  const stats = await orUndefined(stat(path));
  return stats?.isDirectory() === true;
}

async function describeEntry(root: string, entry: Entry): Promise<ObjectInfo | undefined> {
  if (entry.isFolder) return undefined;
  const stats = await orUndefined(stat(join(root, entry.key)));
  return stats === undefined ? undefined : infoOf(entry.key, stats);
}

/** What a listing says of a file; undefined when it is none (a socket, a device, a folder). */
export function infoOf(key: string, stats: Stats): ObjectInfo | undefined {
  return stats.isFile() ? { key, bytes: stats.size, modified: stats.mtime } : undefined;
}

/** Undefined for a path that does not exist. */
export async function orUndefined<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found;
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}
