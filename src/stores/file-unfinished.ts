import { opendir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { orUndefined } from "./file-list.ts";
import { UNFINISHED } from "./keys.ts";
import { throwIfAborted } from "./signals.ts";

/** Removes the temporary files below a folder that nobody has written to since that moment. Returns how many. */
export async function removeUnfinished(folder: string, before: Date, signal: AbortSignal): Promise<number> {
  const entries = await orUndefined(opendir(folder, { recursive: true }));
  const found: string[] = [];
  for await (const entry of entries ?? []) {
    throwIfAborted(signal);
    if (entry.isFile() && UNFINISHED.test(entry.name)) found.push(join(entry.parentPath, entry.name));
  }
  let removed = 0;
  for (const path of found) {
    const stats = await orUndefined(stat(path));
    if (stats === undefined || stats.mtime >= before) continue;
    await rm(path, { force: true });
    removed += 1;
  }
  return removed;
}
