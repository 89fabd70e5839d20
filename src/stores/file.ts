import type { FileHandle } from "node:fs/promises";
import { open, rmdir, stat, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { Context } from "../context.ts";
import { codeOf, DefectError, ToolError } from "../errors.ts";
import { formatBytes } from "../values.ts";
import type { FileStoreConfig } from "./config.ts";
import { explainFileError } from "./file-errors.ts";
import { infoOf, listFiles, orUndefined } from "./file-list.ts";
import { removeUnfinished } from "./file-unfinished.ts";
import { writeWhole } from "./file-write.ts";
import { interruptible } from "./interruptible.ts";
import { checkKey, checkPrefix, prefixOf } from "./keys.ts";
import { abortedBy, throwIfAborted, whileListening } from "./signals.ts";
import {
  DeletionRefused,
  type GetOptions,
  type ObjectInfo,
  ObjectMissing,
  type PutOptions,
  type Store,
} from "./store.ts";

const READ_BYTES = 2 ** 20;
/** A folder or a file that may not be changed, such as one with the immutable attribute. */
const REFUSED = new Set(["EACCES", "EPERM", "EROFS"]);

/**
 * A store in a folder. `create` is atomic between processes and machines wherever the file system has hard links.
 * A folder that does not exist yet is an empty store; the first write makes it.
 */
export function openFileStore(config: FileStoreConfig, name: string, context: Context): Store {
  const root = resolve(config.path, prefixOf(config.prefix, name));
  const handles = new Set<FileHandle>();

  function pathOf(key: string): string {
    checkKey(key);
    return join(root, key);
  }

  async function saying<T>(doing: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw explainFileError(error, doing);
    }
  }

  async function put(
    key: string,
    body: AsyncIterable<Uint8Array>,
    options: PutOptions = {},
  ): Promise<number> {
    const target = pathOf(key);
    const signal = options.signal ?? context.signal;
    const source = interruptible(body);
    let bytes = 0;
    // What the source throws is its own error, not one of this disk.
    let sourceError: { readonly error: unknown } | undefined;

    async function next(): Promise<Uint8Array | undefined> {
      try {
        return await source.next();
      } catch (error) {
        sourceError = { error };
        throw error;
      }
    }

    async function fill(file: FileHandle): Promise<void> {
      for (let chunk = await next(); chunk !== undefined; chunk = await next()) {
        await writeAll(file, chunk);
        bytes += chunk.byteLength;
      }
      throwIfAborted(signal);
    }

    try {
      await whileListening(
        signal,
        () => source.interrupt(abortedBy(signal)),
        () => writeWhole(target, fill),
      );
      return bytes;
    } catch (error) {
      if (sourceError !== undefined) throw sourceError.error;
      throw explainFileError(error, `Writing ${target}`);
    } finally {
      await source.close();
    }
  }

  async function get(key: string, options: GetOptions = {}): Promise<AsyncIterable<Uint8Array>> {
    const path = pathOf(key);
    const signal = options.signal ?? context.signal;
    throwIfAborted(signal);
    return saying(`Reading ${path}`, async () => {
      const file = await orUndefined(open(path, "r"));
      if (file === undefined) throw new ObjectMissing(path);
      handles.add(file);
      try {
        const stats = await file.stat();
        if (!stats.isFile()) throw new ObjectMissing(path);
        const { offset, length } = options.range ?? { offset: 0, length: stats.size };
        if (offset + length > stats.size) throw tooShort(path, stats.size, offset + length);
        return read(file, path, offset, length, signal);
      } catch (error) {
        await release(file);
        throw error;
      }
    });
  }

  async function release(file: FileHandle): Promise<void> {
    if (handles.delete(file)) await file.close();
  }

  async function* read(
    file: FileHandle,
    path: string,
    offset: number,
    length: number,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    try {
      let done = 0;
      while (done < length) {
        throwIfAborted(signal);
        const buffer = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, length - done));
        const { bytesRead } = await file.read(buffer, 0, buffer.length, offset + done);
        if (bytesRead === 0) {
          throw new ToolError(
            `${path} became shorter while it was read: something else writes to the store.`,
          );
        }
        done += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
    } catch (error) {
      throw explainFileError(error, `Reading ${path}`);
    } finally {
      await release(file);
    }
  }

  async function remove(key: string): Promise<void> {
    const path = pathOf(key);
    try {
      await orUndefined(unlink(path));
    } catch (error) {
      const explained = explainFileError(error, `Deleting ${path}`);
      if (!REFUSED.has(codeOf(error) ?? "")) throw explained;
      throw new DeletionRefused(explained.message, { cause: error });
    }
    await removeEmptyFolders(dirname(path), root);
  }

  return {
    describe: (key) => join(root, key),
    put,
    async create(key, body, signal) {
      const target = pathOf(key);
      throwIfAborted(signal ?? context.signal);
      return saying(`Writing ${target}`, () => writeWhole(target, (file) => writeAll(file, body), true));
    },
    get,
    async *list(prefix, signal): AsyncGenerator<ObjectInfo> {
      try {
        yield* listFiles(root, checkPrefix(prefix), signal ?? context.signal);
      } catch (error) {
        throw explainFileError(error, `Listing ${root}`);
      }
    },
    async stat(key, signal) {
      const path = pathOf(key);
      throwIfAborted(signal ?? context.signal);
      return saying(`Looking up ${path}`, async () => {
        const stats = await orUndefined(stat(path));
        return stats === undefined ? undefined : infoOf(key, stats);
      });
    },
    async delete(keys, signal) {
      for (const key of keys) {
        throwIfAborted(signal ?? context.signal);
        await remove(key);
      }
    },
    async removeUnfinished(prefix, before, signal) {
      const folder = join(root, checkPrefix(prefix));
      return saying(`Clearing ${folder}`, () => removeUnfinished(folder, before, signal ?? context.signal));
    },
    close() {
      for (const file of handles) void release(file).catch(() => undefined);
    },
  };
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  let done = 0;
  while (done < bytes.byteLength) {
    const { bytesWritten } = await file.write(bytes, done, bytes.byteLength - done);
    done += bytesWritten;
  }
}

function tooShort(path: string, bytes: number, wanted: number): DefectError {
  return new DefectError(
    path,
    `${path} has ${formatBytes(bytes)} (${bytes} bytes) and ends before byte ${wanted}: it was truncated or replaced.`,
  );
}

/** Stops at the first folder that is not empty, and always at the store's own. */
async function removeEmptyFolders(folder: string, root: string): Promise<void> {
  let current = folder;
  while (current.length > root.length && current.startsWith(root)) {
    try {
      await rmdir(current);
    } catch (error) {
      // Another process may have removed it first; a folder that can not be removed does no harm.
      if (codeOf(error) !== "ENOENT") return;
    }
    current = dirname(current);
  }
}
