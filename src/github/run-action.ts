import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { error as annotate, debug, setOutput } from "@actions/core";
import type { Context } from "../context.ts";
import { AbortedError, DefectError, messageOf, ToolError, UserError } from "../errors.ts";
import { type InputReaders, type InputValues, readInputs } from "./inputs.ts";
import { createLogger, harmless } from "./log.ts";
import { createSecrets, type Secrets, secretsIn } from "./secrets.ts";
import { runTool } from "./tools.ts";

/** After a signal the work has this long to end by itself; the runner kills the process tree after 10 s. */
const STOP_WITHIN_MS = 4_500;
const ANNOTATIONS_SHOWN = 10;

/** What an action promises in its action.yml. */
export interface ActionContract<R extends InputReaders, O extends string> {
  readonly inputs: R;
  readonly outputs: readonly O[];
}

type OutputValues<O extends string> = Readonly<Record<O, string | number | null | undefined>>;

/** What an action is handed to do its work. */
export interface ActionRun<R extends InputReaders, O extends string> {
  readonly inputs: InputValues<R>;
  readonly context: Context;
  /** Sets all outputs, secrets taken out. `undefined` and null become the empty string. */
  publish(outputs: OutputValues<O>): void;
  redact(text: string): string;
}

/**
 * Runs an action from start to exit: reads the inputs, hands out the context, turns what is thrown into annotations,
 * cleans up, and ends the process. The exit code is 0 only if `work` returned.
 */
export async function runAction<R extends InputReaders, const O extends string>(
  contract: ActionContract<R, O>,
  work: (run: ActionRun<R, O>) => Promise<void>,
): Promise<never> {
  // Almost all memory here is buffers outside of V8's heap, yet it lets the heap grow: a backup of 1.5 GB took 287 MB, with
  // this 263 MB at the same speed.
  setFlagsFromString("--optimize-for-size");
  const secrets = createSecrets(process.env.GITHUB_ACTIONS === "true");
  const stop = new AbortController();
  let workDir: string | undefined;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    const reason = new AbortedError(`Stopped by ${signal}; nothing was left half done.`);
    process.on(signal, () => stopWork(reason, `Stopped by ${signal}`, stop, workDir));
  }
  // A mistake in a callback of a library: the servers and files of this run must still go away.
  process.on("uncaughtException", (error) => {
    stopWork(error, sentence(`Ended by a mistake (${messageOf(error)})`, secrets), stop, workDir);
  });
  // The log is gone with whoever read it; the exit code and the record are not.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);

  let exitCode = 1;
  try {
    for (const secret of secretsIn(process.env)) secrets.add(secret);
    // Until something is proven, nothing is: a later value replaces this one.
    if (contract.outputs.some((name) => name === "verdict")) writeOutput("verdict", "unverified");
    workDir = await makeWorkDir();
    const context: Context = {
      log: createLogger(secrets),
      signal: stop.signal,
      env: process.env,
      workDir,
      now: () => new Date(),
      mask: secrets.add,
      runTool,
    };
    await work({
      inputs: readInputs(contract.inputs),
      context,
      publish: (outputs) => publish(outputs, secrets),
      redact: secrets.redact,
    });
    // Whatever the work made of it: a run with a mistake in it proves nothing.
    stop.signal.throwIfAborted();
    exitCode = 0;
  } catch (error) {
    report(stop.signal.aborted ? stop.signal.reason : error, secrets);
  } finally {
    if (workDir !== undefined) await removeWorkDir(workDir, secrets);
  }
  // Sockets that are kept alive must not hold a finished job.
  process.exit(exitCode);
}

async function makeWorkDir(): Promise<string> {
  const parent = process.env.RUNNER_TEMP || tmpdir();
  try {
    return await mkdtemp(join(parent, "drillbook-"));
  } catch (error) {
    throw new ToolError(
      `No folder for temporary files can be made in ${parent} (${messageOf(error)}): set RUNNER_TEMP to a folder that may be written.`,
      { cause: error },
    );
  }
}

async function removeWorkDir(workDir: string, secrets: Secrets): Promise<void> {
  await rm(workDir, { recursive: true, force: true, maxRetries: 3 }).catch((error: unknown) => {
    annotate(secrets.redact(`The folder ${workDir} could not be removed: ${messageOf(error)}`));
  });
}

function stopWork(reason: Error, what: string, stop: AbortController, workDir: string | undefined): void {
  stop.abort(reason);
  // Not unref'd: work that waits for something that never comes would let the process end before this.
  setTimeout(() => {
    if (workDir !== undefined) rmSync(workDir, { recursive: true, force: true });
    annotate(`${what}; the work did not end by itself within ${STOP_WITHIN_MS / 1000} s.`);
    process.exit(1);
  }, STOP_WITHIN_MS);
}

/** Made of paths, times and words of ours: taking a short password out of `/home/runner/shop` would only break it. */
const NO_SECRET = /(?:^|-)(?:verdict|path|id|until|bytes|seconds)$/;

function publish<O extends string>(outputs: OutputValues<O>, secrets: Secrets): void {
  for (const [name, value] of Object.entries<string | number | null | undefined>(outputs)) {
    const text = String(value ?? "");
    writeOutput(name, NO_SECRET.test(name) ? text : secrets.redact(text));
  }
}

function writeOutput(name: string, value: string): void {
  try {
    setOutput(name, value);
  } catch (error) {
    throw new ToolError(`The output ${name} could not be written: ${messageOf(error)}`, { cause: error });
  }
}

/** One annotation a problem, each a sentence; a stack only for our own mistakes, and only in debug logs. */
function report(error: unknown, secrets: Secrets): void {
  const problems = error instanceof UserError ? error.problems : [];
  if (problems.length > 0) {
    for (const problem of problems.slice(0, ANNOTATIONS_SHOWN)) {
      const { file, line, column } = problem.location ?? {};
      annotate(sentence(problem.message, secrets), {
        ...(file === undefined ? {} : { file, startLine: line, startColumn: column }),
      });
    }
    const more = problems.length - ANNOTATIONS_SHOWN;
    if (more > 0) annotate(`${more} more problems are not shown here: mend these first.`);
    return;
  }
  if (error instanceof ToolError || error instanceof DefectError || error instanceof AbortedError) {
    annotate(sentence(error.message, secrets));
    return;
  }
  annotate(
    sentence(`This is a mistake in Drillbook, please report it with this line: ${messageOf(error)}`, secrets),
  );
  if (error instanceof Error) debug(secrets.redact(harmless(error.stack ?? "")));
}

function sentence(text: string, secrets: Secrets): string {
  return harmless(secrets.redact(text)).trim();
}
