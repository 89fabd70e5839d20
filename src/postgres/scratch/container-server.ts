import { readFile, rm } from "node:fs/promises";
import { connect, type NetConnectOpts } from "node:net";
import { join } from "node:path";
import { AbortedError, messageOf, ToolError, UserError } from "../../errors.ts";
import { parseServerVersion, type ServerBinary } from "./binaries.ts";
import { type ContainerPlace, ENGINE_HINT, startContainer } from "./container.ts";
import { wordsOf } from "./engine.ts";
import { INTERRUPT_MS, QUIT_MS, type ServerRuntime } from "./server.ts";

const TRIAL_MS = 60_000;
const REACH_MS = 5_000;
const NO_PROGRAM = 100;

/**
 * Asks for `postgres` and its version through the scratch folder, as the server's user: so it is known, before anything
 * is fetched, that the container sees these folders and may write there. PATH is that of the image.
 */
const TRIAL = `
PATH=$PATH:/usr/lib/postgresql/$2/bin
program=$(command -v postgres) || exit ${NO_PROGRAM}
version=$("$program" --version) || exit ${NO_PROGRAM}
printf '%s\\n' "$program" "$version" >"$1"
`;

/**
 * `postgres` of an image, in a container that sees the scratch folders and this machine's network. The image's own
 * entrypoint and its environment variables play no part. The server is the first process there, as in the official
 * images, so it must end by the signals that it is sent; its exit code and log are those of the client, our child.
 * Throws a {@link UserError} when the image is of another major version or has no server, and a {@link ToolError} when
 * the engine cannot do it.
 */
export async function containerRuntime(place: ContainerPlace, major: number): Promise<ServerRuntime> {
  const { engine, image, context } = place;
  const binary = await tryOut(place, major);
  const label = `${engine.name} ${image}`;
  context.log.info(`The scratch server runs in ${label}, PostgreSQL ${binary.version}`);
  return {
    label,
    async start(scratch, configFile, onLine) {
      const args = ["-D", scratch.data, "-c", `config_file=${configFile}`];
      const container = await startContainer({ ...place, scratch }, binary.path, args, onLine);
      const { client, name } = container;
      return {
        title: `container ${name}`,
        stopCommand: `${engine.name} stop ${name}`,
        ending: client.ending,
        ended: client.ended,
        requireReach: (port) => requireReach(place, port),
        async stop() {
          if (client.ending() === undefined) {
            await container.signal("INT");
            if (!(await client.endsWithin(INTERRUPT_MS))) {
              await container.signal("QUIT");
              await client.endsWithin(QUIT_MS);
            }
          }
          await container.remove();
        },
        release() {
          // Without its client the container lives on.
          client.kill("SIGKILL");
          client.release();
        },
      };
    },
  };
}

async function tryOut(place: ContainerPlace, major: number): Promise<ServerBinary> {
  const { engine, image, scratch, context } = place;
  const answerFile = join(scratch.root, "trial");
  const lines: string[] = [];
  const args = ["-c", TRIAL, "sh", answerFile, String(major)];
  const container = await startContainer(place, "/bin/sh", args, (line) => {
    lines.push(line);
    if (lines.length > 20) lines.shift();
  });
  const stop = () => void container.remove();
  context.signal.addEventListener("abort", stop, { once: true });
  if (context.signal.aborted) stop();
  try {
    if (await container.client.endsWithin(TRIAL_MS)) await container.client.ended;
  } finally {
    context.signal.removeEventListener("abort", stop);
    await container.remove();
  }
  if (context.signal.aborted) throw new AbortedError();
  const ending = container.client.ending() ?? "";
  if (ending === `exit code ${NO_PROGRAM}`) {
    throw new UserError(
      `The image ${image} holds no PostgreSQL server program "postgres" that starts: name another as server.image, such as postgres:${major}.`,
    );
  }
  if (ending !== "exit code 0") {
    const words = wordsOf({ exitCode: 1, stdout: "", stderr: lines.join("\n") });
    throw new ToolError(
      `A container of the image ${image} could not answer through the folder ${scratch.root} (${ending}): ${words}. ${ENGINE_HINT}`,
    );
  }
  const answer = await readFile(answerFile, "utf8").catch(() => undefined);
  if (answer === undefined) {
    throw new ToolError(
      `What a container of ${engine.name} writes to the folder ${scratch.root} does not arrive here. ${ENGINE_HINT}`,
    );
  }
  await rm(answerFile);
  const [path = "", ...version] = answer.split("\n");
  const found = parseServerVersion(version.join("\n"));
  if (found?.major === major) return { path, version: found.version };
  throw new UserError(
    `The image ${image} holds ${found === undefined ? "something else than PostgreSQL" : `PostgreSQL ${found.version}`}, but the backup is of PostgreSQL ${major}: name an image of that major version as server.image, such as postgres:${major}.`,
  );
}

async function requireReach({ engine, scratch }: ContainerPlace, port: number): Promise<void> {
  const ways: readonly NetConnectOpts[] = [
    { path: join(scratch.socket, `.s.PGSQL.${port}`) },
    { host: "127.0.0.1", port },
  ];
  for (const way of ways) {
    const place = "path" in way ? `its socket ${way.path}` : `the port ${port} of 127.0.0.1`;
    await knock(way).catch((error: unknown) => {
      throw new ToolError(
        `The scratch server in ${engine.name} is ready, but ${place} cannot be reached from here (${messageOf(error)}). ${ENGINE_HINT}`,
        { cause: error },
      );
    });
  }
}

async function knock(way: NetConnectOpts): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const socket = connect({ ...way, timeout: REACH_MS });
    socket.once("connect", () => {
      socket.destroy();
      resolve();
    });
    socket.once("timeout", () => socket.destroy(new Error("no answer")));
    socket.once("error", reject);
  });
}
