import { spawn } from "node:child_process";
import type { ToolResult } from "../../context.ts";

export interface ToolOptions {
  /** All of the tool's environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Afterwards it is killed, and answered with 128. */
  readonly seconds: number;
  /** Kills the tool; without it the tool always runs to its end, or its time limit. */
  readonly signal?: AbortSignal;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  /** Called with what the tool writes to its standard output, as it comes. */
  readonly onOutput?: (text: string) => void;
}

/** What is kept of each of the two outputs. */
const KEPT_CHARACTERS = 64 * 2 ** 10;

/**
 * Runs a tool without a shell and returns its answer; one that cannot even be started is answered with 126. Throws only
 * when the signal ends it.
 */
export async function runBounded(
  command: string,
  args: readonly string[],
  options: ToolOptions,
): Promise<ToolResult> {
  const { env, seconds, signal, uid, gid } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid }),
      ...(signal === undefined ? {} : { signal }),
      cwd: "/",
      env,
      stdio: ["ignore", "pipe", "pipe"],
      timeout: seconds * 1000,
      killSignal: "SIGKILL",
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      options.onOutput?.(text);
      stdout = (stdout + text).slice(-KEPT_CHARACTERS);
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr = (stderr + text).slice(-KEPT_CHARACTERS);
    });
    child.on("error", (error) => {
      if (signal?.aborted) reject(error);
      else resolve({ exitCode: 126, stdout, stderr: error.message });
    });
    child.on("close", (code) => resolve({ exitCode: code ?? 128, stdout, stderr }));
  });
}
