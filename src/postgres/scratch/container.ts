import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Context } from "../../context.ts";
import { ToolError } from "../../errors.ts";
import { type Engine, request, wordsOf } from "./engine.ts";
import { type Followed, follow } from "./follow.ts";
import type { Scratch } from "./scratch.ts";

/** What a scratch server's containers are made of. */
export interface ContainerPlace {
  readonly engine: Engine;
  readonly image: string;
  readonly scratch: Scratch;
  readonly context: Context;
}

/** A container, and the client that shows its standard error and ends with its exit code. */
export interface Container {
  readonly name: string;
  readonly client: Followed;
  signal(signal: "INT" | "QUIT"): Promise<void>;
  /** Ends and removes it, however far it got; what cannot be removed is told as a warning. */
  remove(): Promise<void>;
}

const SIGNAL_SECONDS = 2;
const REMOVE_SECONDS = 20;
const REMOVE_TRIES = 20;
const REMOVE_PAUSE_MS = 250;

/**
 * Runs a program of the image as the server's user, in the network of this machine and with nothing of its files but the
 * scratch folders, under their own names. Making and starting are two requests: the first is never cut short, so what
 * there is to remove is always known. Throws a {@link ToolError} with the engine's words when it refuses.
 */
export async function startContainer(
  place: ContainerPlace,
  program: string,
  args: readonly string[],
  onLine: (line: string) => void,
): Promise<Container> {
  const { engine, image, scratch, context } = place;
  const name = `drillbook-${randomBytes(6).toString("hex")}`;
  scratch.watchdog.watch({ container: name, engine: engine.path });
  const options = creation(place, name);
  const created = await request(engine, ["create", ...options, `--entrypoint=${program}`, image, ...args]);
  if (created.exitCode !== 0) {
    await removeContainer(name, engine, context);
    scratch.watchdog.watch(undefined);
    throw new ToolError(
      `${engine.name} could not make a container of the image ${image}: ${wordsOf(created)}. ${ENGINE_HINT}`,
    );
  }
  // Signals are sent to the container by its name: the client only passes them on once it is attached.
  const start = ["start", "--attach", name];
  const client = await follow(engine.path, start, { cwd: "/", env: engine.env }, onLine).catch(
    async (error: unknown) => {
      await removeContainer(name, engine, context);
      throw error;
    },
  );
  let removed: Promise<void> | undefined;

  async function remove(): Promise<void> {
    await removeContainer(name, engine, context);
    client.kill("SIGKILL");
    await client.exited;
    scratch.watchdog.watch(undefined);
  }

  return {
    name,
    client,
    async signal(signal) {
      await request(engine, ["kill", `--signal=${signal}`, name], SIGNAL_SECONDS);
    },
    remove() {
      removed ??= remove();
      return removed;
    },
  };
}

/** What helps when an engine cannot do what a scratch server needs. */
export const ENGINE_HINT =
  "The engine must run on this machine itself, not in a virtual machine, behind a remote DOCKER_HOST or as rootless docker: otherwise install the server programs and name their folder as server.bin-dir.";

function creation({ engine, scratch }: ContainerPlace, name: string): string[] {
  const uid = scratch.user?.uid ?? process.getuid?.();
  const gid = scratch.user?.gid ?? process.getgid?.();
  const folders = scratch.socket.startsWith(`${scratch.root}/`)
    ? [scratch.root]
    : [scratch.root, scratch.socket];
  // Only podman can give a user who is not root its own files under its own id.
  const keepId = engine.isPodman && process.getuid?.() !== 0;
  return [
    ...[`--name=${name}`, "--label=drillbook", "--rm", "--pull=never", "--log-driver=none"],
    ...["--network=host", `--userns=${keepId ? "keep-id" : "host"}`, `--user=${uid}:${gid}`],
    // No labels of SELinux: the folders keep theirs, and are read from both sides.
    ...["--cap-drop=ALL", "--security-opt=no-new-privileges", "--security-opt=label=disable"],
    ...(engine.isPodman ? ["--http-proxy=false"] : []),
    ...["--stop-signal=SIGINT", "--env=LC_ALL=C", "--env=TZ=UTC"],
    // Unlike --volume, a mount makes no folder on the engine's side, and a path may hold a colon.
    ...folders.map((folder) => `--mount=type=bind,${field(`source=${folder}`)},${field(`target=${folder}`)}`),
  ];
}

/** A mount is a line of CSV. */
function field(text: string): string {
  return `"${text.replaceAll('"', '""')}"`;
}

async function removeContainer(name: string, engine: Engine, context: Context): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    const answer = await request(engine, ["rm", "--force", "--volumes", name], REMOVE_SECONDS);
    if (answer.exitCode === 0 || /no such container|no container with/i.test(answer.stderr)) return;
    if (tries === REMOVE_TRIES || !/already in progress/i.test(answer.stderr)) {
      context.log.warning(
        `The container ${name} may be left behind, because ${engine.name} did not remove it: ${wordsOf(answer)}. Remove it with "${engine.name} rm --force ${name}".`,
      );
      return;
    }
    await sleep(REMOVE_PAUSE_MS);
  }
}
