import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import type { Context, ToolResult } from "../../context.ts";
import { ToolError } from "../../errors.ts";
import { runBounded } from "./tool.ts";

/** An engine that runs containers, and answers. */
export interface Engine {
  readonly name: "docker" | "podman";
  /** The client's program. */
  readonly path: string;
  /** What the client is: some distributions ship podman under docker's name. */
  readonly isPodman: boolean;
  /** For the client alone; nothing of it goes into a container. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

const NAMES = ["docker", "podman"] as const;
/** An engine whose socket hangs is as good as none. */
const ANSWER_SECONDS = 10;
const REQUEST_SECONDS = 60;
const PULL_SECONDS = 30 * 60;
const PROGRESS_MS = 5_000;

/** The first engine that answers; else what each one that is installed said instead. */
export async function findEngine(
  context: Context,
): Promise<{ readonly engine: Engine | undefined; readonly refusals: readonly string[] }> {
  const { env, signal } = context;
  const refusals: string[] = [];
  for (const name of NAMES) {
    const path = programInPath(name, env.PATH);
    if (path === undefined) continue;
    const answer = await runBounded(path, ["info"], { env, signal, seconds: ANSWER_SECONDS });
    if (answer.exitCode !== 0) {
      refusals.push(`${name}: ${wordsOf(answer)}`);
      continue;
    }
    const version = await runBounded(path, ["--version"], { env, signal, seconds: ANSWER_SECONDS });
    return { engine: { name, path, isPodman: version.stdout.startsWith("podman"), env }, refusals };
  }
  return { engine: undefined, refusals };
}

function programInPath(name: string, path: string | undefined): string | undefined {
  for (const folder of (path ?? "").split(delimiter)) {
    if (!folder.startsWith("/")) continue;
    try {
      accessSync(join(folder, name), constants.X_OK);
      return join(folder, name);
    } catch {
      // Not in this folder.
    }
  }
  return undefined;
}

/**
 * A request to the engine. It is not cut short by an abort: what was asked for is then known to be done, and can be
 * taken back.
 */
export async function request(
  engine: Engine,
  args: readonly string[],
  seconds = REQUEST_SECONDS,
): Promise<ToolResult> {
  return await runBounded(engine.path, args, { env: engine.env, seconds });
}

/** Takes care that the engine has the image. Throws a {@link ToolError} with the registry's words when it cannot be had. */
export async function requireImage(engine: Engine, image: string, context: Context): Promise<void> {
  const { signal } = context;
  const limits = { env: engine.env, signal, seconds: REQUEST_SECONDS };
  const present = await runBounded(engine.path, ["image", "inspect", image], limits);
  if (present.exitCode === 0) return;
  context.log.info(`Pulling the image ${image} with ${engine.name}`);
  let nextLine = performance.now() + PROGRESS_MS;
  const pulled = await runBounded(engine.path, ["pull", image], {
    ...limits,
    seconds: PULL_SECONDS,
    onOutput(text) {
      if (performance.now() < nextLine) return;
      nextLine = performance.now() + PROGRESS_MS;
      context.log.info(`Pulling the image ${image}: ${text.trim().split("\n").at(-1) ?? ""}`);
    },
  });
  if (pulled.exitCode === 0) return;
  throw new ToolError(
    `${engine.name} has no image ${image} and could not pull it: ${wordsOf(pulled)}. See the name in server.image, log in to its registry in a step before this one, or pull the image there.`,
  );
}

/** What a client said when it failed: its last words, as a part of a sentence. */
export function wordsOf({ exitCode, stderr }: ToolResult): string {
  const lines = stderr
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !/^(?:See '|Run '|Usage: |errors pretty printing info)/.test(line));
  const words = (lines.at(-1) ?? "").replace(/^(?:docker: |Error: |ERROR: )+/, "").replace(/[.]+$/, "");
  if (words !== "") return words.slice(0, 500);
  return exitCode === 128 ? "it did not answer in time" : `exit code ${exitCode} without a word`;
}
