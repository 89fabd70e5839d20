import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { ROOT, readAction } from "./action-metadata.ts";
import { type Annotation, readKeyValues, readTranscript } from "./workflow-commands.ts";

export interface StepOptions {
  /** The workflow's `with:`. An input that action.yml does not declare is an error here. */
  readonly with?: Readonly<Record<string, string>>;
  /** The workflow's `env:`. */
  readonly env?: Readonly<Record<string, string>>;
  /** The checkout: GITHUB_WORKSPACE and the working directory. */
  readonly workspace: string;
  /** Where artifacts go; without it the step sees no artifact service. */
  readonly results?: { readonly url: string; readonly token: string } | undefined;
  /** Starts the bundle below this command, such as `["prlimit", "--fsize=1000"]`. */
  readonly wrapper?: readonly string[];
  /** Another RUNNER_TEMP than a fresh folder; it is not removed. */
  readonly temp?: string;
  /** Called with each line of standard output, as it comes. */
  readonly onLine?: (line: string) => void;
  /** Kills the step after so long; default: 4 minutes. */
  readonly timeoutMs?: number;
}

/** What the runner knows of a step when it ended. */
export interface StepResult {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Standard output and error without the mask commands. */
  readonly visible: string;
  readonly outputs: Readonly<Record<string, string>>;
  readonly annotations: readonly Annotation[];
  /** Of the annotations, the messages of the errors. */
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
  readonly masks: readonly string[];
  readonly summary: string;
  /** What lies in RUNNER_TEMP and TMPDIR afterwards; should be nothing. */
  readonly leftovers: readonly string[];
  readonly seconds: number;
}

/** A step that runs. */
export interface RunningStep {
  readonly pid: number;
  /** The step's private folder, which holds RUNNER_TEMP and TMPDIR. */
  readonly folder: string;
  readonly done: Promise<StepResult>;
  kill(signal: NodeJS.Signals): void;
}

const NODE = join(ROOT, "node_modules/.bin/node");
const FILES = ["GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_STATE", "GITHUB_PATH", "GITHUB_STEP_SUMMARY"] as const;

/** Runs an action of this repository to its end. */
export async function runStep(action: string, options: StepOptions): Promise<StepResult> {
  return (await startStep(action, options)).done;
}

/**
 * Starts the bundle of `actions/<action>` as GitHub's runner does: defaults of action.yml, inputs as `INPUT_*`, files
 * for outputs and the summary, a fresh RUNNER_TEMP, Node 24.
 */
export async function startStep(action: string, options: StepOptions): Promise<RunningStep> {
  const { main, defaults } = await readAction(action);
  for (const name of Object.keys(options.with ?? {})) {
    if (!(name in defaults)) throw new Error(`actions/${action}/action.yml declares no input ${name}.`);
  }
  const folder = await mkdtemp(join(tmpdir(), "drillbook-step-"));
  await chmod(folder, 0o755);
  const temp = options.temp ?? join(folder, "temp");
  const tmp = join(folder, "tmp");
  for (const path of [temp, tmp]) await mkdir(path, { recursive: true });
  const files = Object.fromEntries(FILES.map((name) => [name, join(folder, name.toLowerCase())]));
  for (const path of Object.values(files)) await writeFile(path, "");

  const command = [...(options.wrapper ?? []), NODE, main];
  const startedAt = performance.now();
  const child = spawn(command[0] ?? NODE, command.slice(1), {
    cwd: options.workspace,
    env: {
      ...machine(),
      ...runnerFacts(options.workspace),
      ...files,
      RUNNER_TEMP: temp,
      TMPDIR: tmp,
      ...inputs({ ...defaults, ...options.with }),
      ...(options.results === undefined
        ? {}
        : { ACTIONS_RESULTS_URL: options.results.url, ACTIONS_RUNTIME_TOKEN: options.results.token }),
      ...options.env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs ?? 240_000);
  const ended = once(child, "close");
  let stdout = "";
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    stderr += chunk;
  });
  createInterface({ input: child.stdout }).on("line", (line) => {
    stdout += `${line}\n`;
    options.onLine?.(line);
  });

  async function result(): Promise<StepResult> {
    try {
      await ended;
      const transcript = readTranscript(stdout);
      const { annotations } = transcript;
      return {
        exitCode: child.exitCode,
        signal: child.signalCode,
        stdout,
        stderr,
        visible: `${transcript.visible}${stderr}`,
        outputs: readKeyValues(await readFile(files.GITHUB_OUTPUT ?? "", "utf8")),
        annotations,
        errors: annotations.filter((one) => one.level === "error").map((one) => one.message),
        warnings: annotations.filter((one) => one.level === "warning").map((one) => one.message),
        masks: transcript.masks,
        summary: await readFile(files.GITHUB_STEP_SUMMARY ?? "", "utf8"),
        leftovers: [...(await readdir(temp)), ...(await readdir(tmp))],
        seconds: (performance.now() - startedAt) / 1000,
      };
    } finally {
      clearTimeout(timer);
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    }
  }

  const done = result();
  done.catch(() => undefined);
  return { pid: child.pid ?? 0, folder, done, kill: (signal) => void child.kill(signal) };
}

/** Of this machine's environment only what a job of a runner has, too. */
function machine(): Record<string, string> {
  const names = ["PATH", "HOME", "USER", "LANG", "SHELL"];
  return Object.fromEntries(names.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])));
}

function runnerFacts(workspace: string): Record<string, string> {
  return {
    CI: "true",
    GITHUB_ACTIONS: "true",
    GITHUB_ACTOR: "octocat",
    GITHUB_TRIGGERING_ACTOR: "octocat",
    GITHUB_API_URL: "https://api.github.com",
    GITHUB_EVENT_NAME: "workflow_dispatch",
    GITHUB_JOB: "drill",
    GITHUB_REF: "refs/heads/main",
    GITHUB_REPOSITORY: "acme/shop",
    GITHUB_RUN_ATTEMPT: "1",
    GITHUB_RUN_ID: "4242",
    GITHUB_SERVER_URL: "https://github.com",
    GITHUB_SHA: "0123456789abcdef0123456789abcdef01234567",
    GITHUB_WORKFLOW: "Disaster recovery",
    GITHUB_WORKSPACE: workspace,
    RUNNER_ARCH: process.arch.toUpperCase(),
    RUNNER_ENVIRONMENT: "self-hosted",
    RUNNER_NAME: "local",
    RUNNER_OS: process.platform === "darwin" ? "macOS" : "Linux",
  };
}

/** `bin-dir` becomes INPUT_BIN-DIR: only spaces are replaced (actions/runner, NodeScriptActionHandler). */
function inputs(values: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      `INPUT_${name.replaceAll(" ", "_").toUpperCase()}`,
      value,
    ]),
  );
}
