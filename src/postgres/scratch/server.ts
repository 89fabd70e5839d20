import { createServer } from "node:net";
import { join } from "node:path";
import type { Scratch } from "./scratch.ts";

/** Where a scratch server's programs are, and how they are started. */
export interface ServerRuntime {
  /** For the log and the record: `docker postgres:17`; undefined: programs of this machine. */
  readonly label: string | undefined;
  /** Starts `postgres` on the scratch folders and hands over what it logs, line by line. */
  start(scratch: Scratch, configFile: string, onLine: (line: string) => void): Promise<ServerProcess>;
}

/** A running `postgres`. */
export interface ServerProcess {
  /** What a person calls it, and the command that ends it: `process 4711`, `kill -INT 4711`. */
  readonly title: string;
  readonly stopCommand: string;
  /** How it ended, once it has: `exit code 1`, `signal SIGKILL`. */
  ending(): string | undefined;
  /** Resolves when it has ended and its last line was read. */
  readonly ended: Promise<void>;
  /** Throws a ToolError when the server, which is ready on this port, cannot be reached from this process. */
  requireReach(port: number): Promise<void>;
  /** Fast shutdown, then immediate, then kill: within five seconds it is gone. */
  stop(): Promise<void>;
  /** Lets it live when this process ends. */
  release(): void;
}

/** How long a server is given for its fast shutdown, and then for the immediate one. */
export const INTERRUPT_MS = 1_500;
export const QUIT_MS = 1_500;

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
