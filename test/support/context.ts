import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Context, ToolResult } from "../../src/context.ts";

/** A context that remembers what was logged and masked. */
export interface TestContext extends Context, AsyncDisposable {
  /** One entry per log call: `info: …`, `warning: …`, `debug: …`. */
  readonly lines: string[];
  readonly masked: string[];
  /** What SIGINT does in a real run. */
  abort(): void;
}

/** Makes a context with a work folder of its own; disposing it aborts what still runs and removes the folder. */
export async function testContext(overrides: Partial<Context> = {}): Promise<TestContext> {
  const lines: string[] = [];
  const masked: string[] = [];
  const controller = new AbortController();
  const workDir = await mkdtemp(join(tmpdir(), "drillbook-test-"));

  function record(level: string): (message: string) => void {
    return (message) => {
      lines.push(`${level}: ${message}`);
    };
  }

  return {
    log: { debug: record("debug"), info: record("info"), warning: record("warning") },
    signal: controller.signal,
    env: process.env,
    workDir,
    now: () => new Date(),
    mask: (secret) => {
      masked.push(secret);
    },
    runTool: (command, args) => runTool(command, args, controller.signal),
    ...overrides,
    lines,
    masked,
    abort: () => controller.abort(),
    async [Symbol.asyncDispose]() {
      controller.abort();
      await rm(workDir, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
    },
  };
}

function runTool(command: string, args: readonly string[], signal: AbortSignal): Promise<ToolResult> {
  return new Promise((resolve, reject) => {
    execFile(command, [...args], { signal, maxBuffer: 16 * 2 ** 20 }, (error, stdout, stderr) => {
      if (error === null) return resolve({ exitCode: 0, stdout, stderr });
      if (typeof error.code === "number") return resolve({ exitCode: error.code, stdout, stderr });
      reject(error);
    });
  });
}
