import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { error as annotate, debug, setOutput } from "@actions/core";
import type { Context } from "../context.ts";
import { AbortedError, DefectError, messageOf, ToolError, UserError } from "../errors.ts";
import { type InputReaders, type InputValues, readInputs } from "./inputs.ts";
import { createLogger, harmless } from "./log.ts";
import { createSecrets, type Secrets } from "./secrets.ts";
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
  const secrets = createSecrets(process.env.GITHUB_ACTIONS === "true");
  const stop = new AbortController();
  const workDir = await mkdtemp(join(process.env.RUNNER_TEMP || tmpdir(), "drillbook-"));
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => stopWork(signal, stop, workDir));
  }

  let exitCode = 1;
  try {
    // Until something is proven, nothing is: a later value replaces this one.
    if (contract.outputs.some((name) => name === "verdict")) setOutput("verdict", "unverified");
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
    exitCode = 0;
  } catch (error) {
    report(stop.signal.aborted ? stop.signal.reason : error, secrets);
  } finally {
    await rm(workDir, { recursive: true, force: true, maxRetries: 3 }).catch((error: unknown) => {
      annotate(secrets.redact(`The folder ${workDir} could not be removed: ${messageOf(error)}`));
    });
  }
  // Sockets that are kept alive must not hold a finished job.
  process.exit(exitCode);
}

function stopWork(signal: NodeJS.Signals, stop: AbortController, workDir: string): void {
  stop.abort(new AbortedError(`Stopped by ${signal}; nothing was left half done.`));
  setTimeout(() => {
    rmSync(workDir, { recursive: true, force: true });
    annotate(`Stopped by ${signal}; the work did not end by itself within ${STOP_WITHIN_MS / 1000} s.`);
    process.exit(1);
  }, STOP_WITHIN_MS).unref();
}

function publish<O extends string>(outputs: OutputValues<O>, secrets: Secrets): void {
  for (const [name, value] of Object.entries<string | number | null | undefined>(outputs)) {
    setOutput(name, secrets.redact(String(value ?? "")));
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
