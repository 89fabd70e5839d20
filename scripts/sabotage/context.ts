import { chmod } from "node:fs/promises";
import type { Context } from "../../src/context.ts";
import { runTool } from "../../src/github/tools.ts";
import { type GuardedFolder, guardedFolder } from "../lib/guard.ts";

/** A context of this process: quiet, with a work folder that disappears with it. */
export interface ScriptContext extends Context, AsyncDisposable {
  /** The last lines that were logged, to explain a failure with. */
  readonly lines: readonly string[];
}

const MOST_LINES = 40;

export async function scriptContext(
  env: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal,
): Promise<ScriptContext> {
  const folder: GuardedFolder = await guardedFolder("drillbook-sabotage-");
  // A scratch server below it may belong to another user.
  await chmod(folder.path, 0o755);
  const lines: string[] = [];
  const take = (message: string) => {
    lines.push(message);
    if (lines.length > MOST_LINES) lines.shift();
  };
  return {
    log: { debug: () => undefined, info: take, warning: take },
    signal,
    env,
    workDir: folder.path,
    now: () => new Date(),
    mask: () => undefined,
    runTool,
    lines,
    [Symbol.asyncDispose]: () => folder.remove(),
  };
}
