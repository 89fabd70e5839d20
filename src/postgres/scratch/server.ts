import { type ChildProcess, spawn } from "node:child_process";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf, ToolError } from "../../errors.ts";
import type { ServerBinary } from "./binaries.ts";
import { identityOf } from "./run-user.ts";
import type { Scratch } from "./scratch.ts";

/** A running `postgres` process. */
export interface ServerProcess {
  readonly pid: number;
  /** How it ended, once it has: `exit code 1`, `signal SIGKILL`. */
  ending(): string | undefined;
  /** Resolves when it has ended and its last line was read. */
  readonly ended: Promise<void>;
  /** Fast shutdown, then immediate, then kill: within five seconds it is gone. */
  stop(): Promise<void>;
  /** Lets it live when this process ends. */
  release(): void;
}

const INTERRUPT_MS = 1_500;
const QUIT_MS = 1_500;

/**
 * Starts `postgres` in its own process group and hands over what it logs, line by line. It is a direct child: no
 * pg_ctl, whose success means something else than ours.
 */
export async function startServer(
  binary: ServerBinary,
  scratch: Scratch,
  configFile: string,
  onLine: (line: string) => void,
): Promise<ServerProcess> {
  const child = spawn(binary.path, ["-D", scratch.data, "-c", `config_file=${configFile}`], {
    ...identityOf(scratch.user),
    cwd: scratch.root,
    env: serverEnvironment(),
    detached: true,
    stdio: ["ignore", "ignore", "pipe"],
  });
  await started(child, binary.path);
  const pid = child.pid ?? 0;
  scratch.watchdog.watch(pid);

  let ending: string | undefined;
  // `close`, unlike `exit`, waits for the last line, but a child of the server may hold the pipe open.
  const exited = new Promise<void>((resolve) => {
    child.once("exit", (code, signal) => {
      ending = signal === null ? `exit code ${code}` : `signal ${signal}`;
      scratch.watchdog.watch(undefined);
      resolve();
    });
  });
  const lines = createInterface({ input: child.stderr });
  lines.on("line", onLine);
  const drained = new Promise<void>((resolve) => lines.once("close", () => resolve()));
  const ended = exited.then(() => Promise.race([drained, sleep(1_000)])).then(() => undefined);

  async function endsWithin(milliseconds: number): Promise<boolean> {
    const timer = new AbortController();
    const timeout = sleep(milliseconds, false, { signal: timer.signal }).catch(() => false);
    const gone = await Promise.race([exited.then(() => true), timeout]);
    timer.abort();
    return gone;
  }

  function kill(target: number, signal: NodeJS.Signals): void {
    try {
      process.kill(target, signal);
    } catch {
      // It has just ended.
    }
  }

  return {
    pid,
    ending: () => ending,
    ended,
    async stop() {
      if (ending !== undefined) return;
      kill(pid, "SIGINT");
      if (await endsWithin(INTERRUPT_MS)) return;
      kill(pid, "SIGQUIT");
      if (await endsWithin(QUIT_MS)) return;
      kill(-pid, "SIGKILL");
      await exited;
    },
    release() {
      child.unref();
      child.stderr.destroy();
      lines.close();
    },
  };
}

/** Only what a server needs: PGDATA, PGOPTIONS and the like of the job must not reach it. */
function serverEnvironment(): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = { PATH: process.env.PATH, LC_ALL: "C", TZ: "UTC" };
  for (const name of ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR"]) {
    if (process.env[name] !== undefined) env[name] = process.env[name];
  }
  return env;
}

async function started(child: ChildProcess, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", () => resolve());
    child.once("error", (error) =>
      reject(new ToolError(`${path} could not be started: ${messageOf(error)}.`, { cause: error })),
    );
  });
}

/** A port that was free a moment ago; whoever binds it must be ready to try another. */
export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      probe.close(() => resolve(port));
    });
  });
}

/** Where the server's own configuration files lie: outside the data folder, which stays as the backup has it. */
export function configurationFiles(scratch: Scratch): { config: string; hba: string; ident: string } {
  return {
    config: join(scratch.root, "server.conf"),
    hba: join(scratch.root, "hba.conf"),
    ident: join(scratch.root, "ident.conf"),
  };
}
