import { link, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Context } from "../../context.ts";
import { codeOf, messageOf } from "../../errors.ts";
import type { Scratch } from "../scratch/scratch.ts";
import { restoreCommand, restoreScript, windowFolders } from "./restore-command.ts";

/** One file that recovery may ask for: a segment, or a timeline's history. */
export interface WalFile {
  readonly name: string;
  /** Its checked raw bytes, in `buffer` if they fit there; what it throws is why recovery cannot go on. */
  fetch(signal: AbortSignal, buffer: Buffer): Promise<Uint8Array>;
}

export interface WalWindowOptions {
  readonly scratch: Scratch;
  /** In the order of replay: prefetched. */
  readonly segments: readonly WalFile[];
  /** Fetched when they are asked for. */
  readonly histories: readonly WalFile[];
  readonly context: Context;
  /** Bytes of a segment. */
  readonly segmentBytes: number;
  /** So many segments lie ready or are on their way, ahead of replay. */
  readonly windowSegments?: number;
}

/** Feeds `restore_command`. */
export interface WalWindow {
  /** The value of `restore_command`. */
  readonly command: string;
  /** Why a file could not be had; undefined when it could, or was never looked for. */
  failureOf(name: string): unknown;
  /** Why the window itself gave up, so that `restore_command` would wait for ever. */
  broken(): unknown;
  /** Bytes fetched so far. */
  bytes(): number;
  /** Ends what is under way; afterwards `restore_command` is not answered any more. */
  stop(): Promise<void>;
}

export const WINDOW_SEGMENTS = 16;
/** So many files are held in memory at once; fewer when a segment is large. */
const PARALLEL = 4;
const PARALLEL_BYTES = 128 * 2 ** 20;
const POLL_MS = 20;
const STOP_MS = 2_000;
/** Behind the newest that the server took: it reads ahead, the more so when segments were switched early. */
const KEPT_SEGMENTS = 3;

/**
 * Fetches the WAL in parallel into a small window on disk and answers what the server asks for. PostgreSQL moves each
 * file out of the window, so the disk it needs is bounded; a file that it wants a second time is given again. That the
 * last files have a second link is safe because the server runs with wal_recycle=off: it never writes into old WAL.
 * A file that is not in the lists is answered as absent, because the plan has proven what recovery needs.
 */
export async function startWalWindow(options: WalWindowOptions): Promise<WalWindow> {
  const { scratch, segments, context, windowSegments = WINDOW_SEGMENTS } = options;
  const parallel = Math.max(1, Math.min(PARALLEL, Math.floor(PARALLEL_BYTES / options.segmentBytes)));
  const folders = windowFolders(scratch.wal);
  for (const folder of Object.values(folders)) await scratch.makeFolder(folder);
  const script = join(scratch.wal, "restore.sh");
  await scratch.writeFile(script, restoreScript(folders));

  const files = new Map([...segments, ...options.histories].map((file) => [file.name, file]));
  const order = new Map(segments.map((file, index) => [file.name, index]));
  const stop = new AbortController();
  const signal = AbortSignal.any([context.signal, stop.signal]);
  const underWay = new Map<string, Promise<void>>();
  const failures = new Map<string, unknown>();
  /** Used again and again: a new one for each segment would be a lot of garbage. */
  const buffers: Buffer[] = [];
  let bytes = 0;
  /** The next segment to prefetch, and the last that the server took. */
  let next = 0;
  let taken = -1;
  const delivered = new Set<string>();

  let broken: unknown;

  function giveUp(error: unknown): void {
    if (!signal.aborted) broken ??= error;
    stop.abort();
  }

  function start(file: WalFile): void {
    if (underWay.has(file.name) || failures.has(file.name)) return;
    const work = land(file)
      .catch((error: unknown) => giveUp(error))
      .finally(() => underWay.delete(file.name));
    underWay.set(file.name, work);
  }

  async function land(file: WalFile): Promise<void> {
    const buffer = buffers.pop() ?? Buffer.allocUnsafeSlow(options.segmentBytes);
    try {
      const content = await file.fetch(signal, buffer);
      bytes += content.length;
      await scratch.writeFile(join(folders.landing, file.name), content);
      await link(join(folders.landing, file.name), join(folders.kept, file.name)).catch(ignoreExisting);
      await rename(join(folders.landing, file.name), join(folders.ready, file.name));
      delivered.add(file.name);
    } catch (error) {
      if (signal.aborted) return;
      failures.set(file.name, error);
      context.log.debug(`The WAL file ${file.name} could not be had: ${messageOf(error)}`);
      await mark(folders.failed, file.name);
    } finally {
      buffers.push(buffer);
    }
  }

  async function mark(folder: string, name: string): Promise<void> {
    await scratch.writeFile(join(folder, name), "");
  }

  async function answer(name: string): Promise<void> {
    // First of all, so that a question that comes meanwhile is not swept away unanswered.
    try {
      await rm(join(folders.asked, name));
    } catch (error) {
      // Who asked has got the file in the meantime.
      if (codeOf(error) === "ENOENT") return;
      throw error;
    }
    const file = files.get(name);
    if (file === undefined) await mark(folders.absent, name);
    else if (!(await isReady(name)) && !(await deliverAgain(name))) start(file);
  }

  /** As it is now: what an earlier look into the folder saw may have been taken, and asked for again since. */
  async function isReady(name: string): Promise<boolean> {
    return (await stat(join(folders.ready, name)).catch(() => undefined)) !== undefined;
  }

  /** Whether the file could be given once more from its second link. */
  async function deliverAgain(name: string): Promise<boolean> {
    if (underWay.has(name)) return false;
    try {
      await rename(join(folders.kept, name), join(folders.ready, name));
      delivered.add(name);
      return true;
    } catch {
      return false;
    }
  }

  /** PostgreSQL reads the segment in which it stops a second time; what lies before it is not wanted again. */
  async function forget(): Promise<void> {
    for (const name of await readdir(folders.kept)) {
      if ((order.get(name) ?? -1) < taken - KEPT_SEGMENTS)
        await rm(join(folders.kept, name), { force: true });
    }
  }

  function prefetch(ready: ReadonlySet<string>): void {
    let ahead = [...ready, ...underWay.keys()].filter((name) => (order.get(name) ?? -1) > taken).length;
    while (next < segments.length && ahead < windowSegments && underWay.size < parallel) {
      const file = segments[next];
      next += 1;
      if (file === undefined || ready.has(file.name)) continue;
      start(file);
      ahead += 1;
    }
  }

  async function look(): Promise<void> {
    // In this order: what lands after the look into the folder has not been taken.
    const known = [...delivered];
    const ready = new Set(await readdir(folders.ready));
    for (const name of known) {
      if (ready.has(name)) continue;
      delivered.delete(name);
      const number = order.get(name) ?? -1;
      if (number <= taken) continue;
      taken = number;
      await forget();
    }
    for (const name of await readdir(folders.asked)) await answer(name);
    prefetch(ready);
  }

  async function loop(): Promise<void> {
    while (!signal.aborted) {
      await look();
      await sleep(POLL_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  const looping = loop().catch((error: unknown) => giveUp(error));

  return {
    command: restoreCommand(script),
    failureOf: (name) => failures.get(name),
    broken: () => broken,
    bytes: () => bytes,
    async stop() {
      stop.abort();
      await looping;
      // Stores end with their signal; one that does not must not hold us up.
      const timer = new AbortController();
      const settled = Promise.allSettled(underWay.values()).then(() => timer.abort());
      await Promise.race([
        settled,
        sleep(STOP_MS, undefined, { signal: timer.signal }).catch(() => undefined),
      ]);
    },
  };
}

function ignoreExisting(error: unknown): void {
  if (codeOf(error) !== "EEXIST") throw error;
}
