import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { constants } from "node:os";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf, ToolError } from "../../errors.ts";

/** A child process whose standard error is read line by line. */
export interface Followed {
  readonly pid: number;
  /** How it ended, once it has: `exit code 1`, `signal SIGKILL`. */
  ending(): string | undefined;
  readonly exited: Promise<void>;
  /** Resolves when it has ended and its last line was read. */
  readonly ended: Promise<void>;
  endsWithin(milliseconds: number): Promise<boolean>;
  /** To the process, or with `group` to its whole process group; one that has just ended is none. */
  kill(signal: NodeJS.Signals, options?: { readonly group?: boolean }): void;
  /** Neither its life nor its output concerns this process any more. */
  release(): void;
}

/** Starts a program in its own process group. Throws a ToolError when it cannot be started. */
export async function follow(
  command: string,
  args: readonly string[],
  options: Pick<SpawnOptions, "cwd" | "env" | "uid" | "gid">,
  onLine: (line: string) => void,
): Promise<Followed> {
  const child = spawn(command, args, { ...options, detached: true, stdio: ["ignore", "ignore", "pipe"] });
  await started(child, command);
  const pid = child.pid ?? 0;
  let ending: string | undefined;
  // `close`, unlike `exit`, waits for the last line, but a child of the server may hold the pipe open.
  const exited = new Promise<void>((resolve) => {
    child.once("exit", (code, signal) => {
      ending = describeEnding(code, signal);
      resolve();
    });
  });
  const stderr = child.stderr;
  const lines = createInterface({ input: stderr });
  lines.on("line", onLine);
  const drained = new Promise<void>((resolve) => lines.once("close", () => resolve()));
  const ended = exited.then(() => Promise.race([drained, sleep(1_000)])).then(() => undefined);

  return {
    pid,
    ending: () => ending,
    exited,
    ended,
    async endsWithin(milliseconds) {
      const timer = new AbortController();
      const timeout = sleep(milliseconds, false, { signal: timer.signal }).catch(() => false);
      const gone = await Promise.race([exited.then(() => true), timeout]);
      timer.abort();
      return gone;
    },
    kill(signal, { group = false } = {}) {
      try {
        process.kill(group ? -pid : pid, signal);
      } catch {
        // It has just ended.
      }
    },
    release() {
      child.unref();
      stderr.destroy();
      lines.close();
    },
  };
}

/** A shell, and the client of a container's engine, tell a signal as an exit code above 128. */
function describeEnding(code: number | null, signal: NodeJS.Signals | null): string {
  const told = Object.entries(constants.signals).find(([, number]) => number + 128 === code)?.[0];
  const name = signal ?? told;
  return name === undefined ? `exit code ${code}` : `signal ${name}`;
}

async function started(child: ChildProcess, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", () => resolve());
    child.once("error", (error) =>
      reject(new ToolError(`${path} could not be started: ${messageOf(error)}.`, { cause: error })),
    );
  });
}
