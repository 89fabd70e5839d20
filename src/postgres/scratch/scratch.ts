import { chmod, chown, mkdir, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Context } from "../../context.ts";
import { messageOf, ToolError } from "../../errors.ts";
import { type RunUser, runAs } from "./run-user.ts";
import { startWatchdog, type Watchdog } from "./watchdog.ts";

/** The private folders of one scratch server; everything in them belongs to the server's user. */
export interface Scratch {
  readonly root: string;
  /** The data folder. */
  readonly data: string;
  /** One folder per tablespace, named by its oid. */
  readonly tablespaces: string;
  /** Where `restore_command` finds the WAL. */
  readonly wal: string;
  /** Short, because a socket's path may have only 107 bytes (103 on macOS). */
  readonly socket: string;
  readonly user: RunUser | undefined;
  /** Ends the server and removes the folders when this process dies without doing so. */
  readonly watchdog: Watchdog;
  /** Makes a folder of mode 0700 that the server's user owns. */
  makeFolder(path: string): Promise<void>;
  /** Gives a file or folder to the server's user. */
  own(path: string): Promise<void>;
  /** Writes a small file of mode 0600 that the server's user owns. */
  writeFile(path: string, content: string | Uint8Array): Promise<void>;
  remove(): Promise<void>;
}

const SOCKET_PATH_BYTES = process.platform === "darwin" ? 103 : 107;
const SOCKET_NAME = "/.s.PGSQL.65535";

/**
 * Makes the folders beside `context.workDir`, not in it: a kept server outlives the work folder. When the server's
 * user cannot get there, they go to the system's folder for temporary files.
 */
export async function createScratch(user: RunUser | undefined, context: Context): Promise<Scratch> {
  const made: string[] = [];
  const watchdog = startWatchdog(context.env);
  async function remove(): Promise<void> {
    for (const folder of made) await rm(folder, { recursive: true, force: true, maxRetries: 3 });
    await watchdog.dismiss();
  }
  try {
    const root = await makeRoot(user, context, (folder) => {
      made.push(folder);
      watchdog.guard(folder);
    });
    let socket = join(root, "socket");
    if (Buffer.byteLength(socket) + SOCKET_NAME.length > SOCKET_PATH_BYTES) {
      socket = await privateFolder(tmpdir(), user);
      made.push(socket);
      watchdog.guard(socket);
      if (Buffer.byteLength(socket) + SOCKET_NAME.length > SOCKET_PATH_BYTES) {
        throw new ToolError(
          `The folder for temporary files ${tmpdir()} has too long a name for a socket: set TMPDIR to a shorter one.`,
        );
      }
    }
    const scratch: Scratch = {
      root,
      data: join(root, "data"),
      tablespaces: join(root, "tablespaces"),
      wal: join(root, "wal"),
      socket,
      user,
      watchdog,
      async makeFolder(path) {
        await mkdir(path, { mode: 0o700, recursive: true });
        await own(path, user);
      },
      own: (path) => own(path, user),
      async writeFile(path, content) {
        const handle = await open(path, "w", 0o600);
        try {
          await handle.writeFile(content);
          if (user !== undefined) await handle.chown(user.uid, user.gid);
        } finally {
          await handle.close();
        }
      },
      remove,
    };
    for (const folder of [scratch.data, scratch.tablespaces, scratch.wal, scratch.socket]) {
      await scratch.makeFolder(folder);
    }
    return scratch;
  } catch (error) {
    await remove();
    throw error;
  }
}

async function makeRoot(
  user: RunUser | undefined,
  context: Context,
  made: (folder: string) => void,
): Promise<string> {
  const reasons: string[] = [];
  for (const parent of new Set([dirname(context.workDir), tmpdir()])) {
    try {
      const root = await privateFolder(parent, user);
      made(root);
      const reach = await runAs(user, "/bin/sh", ["-c", 'cd -- "$1"', "sh", root], context.signal);
      if (reach.exitCode === 0) return root;
      await rm(root, { recursive: true, force: true });
      reasons.push(`${user?.name ?? "this user"} cannot enter ${parent}`);
    } catch (error) {
      if (context.signal.aborted) throw error;
      reasons.push(messageOf(error));
    }
  }
  throw new ToolError(
    `There is no folder for the scratch server: ${reasons.join("; ")}. Set TMPDIR to a folder that its user can enter.`,
  );
}

async function privateFolder(parent: string, user: RunUser | undefined): Promise<string> {
  const folder = await mkdtemp(join(parent, "drillbook-pg-"));
  await chmod(folder, 0o700);
  await own(folder, user);
  return folder;
}

async function own(path: string, user: RunUser | undefined): Promise<void> {
  if (user !== undefined) await chown(path, user.uid, user.gid);
}
