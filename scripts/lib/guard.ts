import { spawn } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { chown, mkdtemp, realpath } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** Another user that a process is started as; undefined: the same user. */
export interface User {
  readonly uid: number;
  readonly gid: number;
}

/** A temporary folder that disappears with this process, however that ends. */
export interface GuardedFolder {
  readonly path: string;
  /** Removes the folder now, with what still runs in it; resolves when it is gone. */
  remove(): Promise<void>;
}

/**
 * Waits until this process closes the pipe or dies, also by kill -9, then ends the server whose `postmaster.pid` lies in
 * the folder and removes the folder. A sibling in a session of its own, so that Ctrl-C does not reach it.
 */
const WATCHDOG = `
cat >/dev/null
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ] && kill -QUIT "$pid" 2>/dev/null; then
  for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null
fi
for i in 1 2 3 4 5; do
  rm -rf "$1" 2>/dev/null && break
  sleep 0.2
done
`;

/** Makes a temporary folder that belongs to `user` and is removed at the latest when this process ends. */
export async function guardedFolder(prefix: string, user?: User): Promise<GuardedFolder> {
  const path = await mkdtemp(join(await temporaryRoot(user), prefix));
  if (user !== undefined) await chown(path, user.uid, user.gid);
  const watchdog = spawn("/bin/sh", ["-c", WATCHDOG, "sh", path], {
    ...user,
    cwd: "/",
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  const gone = new Promise<void>((resolve, reject) => {
    watchdog.once("exit", () => resolve());
    watchdog.once("error", reject);
  });
  gone.catch(() => undefined);
  watchdog.unref();
  if ("unref" in watchdog.stdin && typeof watchdog.stdin.unref === "function") watchdog.stdin.unref();
  return {
    path,
    remove(): Promise<void> {
      watchdog.ref();
      watchdog.stdin.end();
      return gone;
    },
  };
}

/** Whether every folder above `path` may be entered by any user. */
export function isTraversable(path: string): boolean {
  for (let folder = path; ; folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o001) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}

/** The system's folder for temporary files; `/tmp` when the other user could not enter that one. */
async function temporaryRoot(user: User | undefined): Promise<string> {
  const root = await realpath(tmpdir());
  if (user === undefined || isTraversable(root)) return root;
  accessSync("/tmp", constants.W_OK);
  return "/tmp";
}
