import type { Context } from "../../context.ts";
import { ToolError, UserError } from "../../errors.ts";
import { quote } from "../../quote.ts";
import { findServerBinary } from "./binaries.ts";
import { containerRuntime } from "./container-server.ts";
import { findEngine, requireImage } from "./engine.ts";
import { localRuntime } from "./local-server.ts";
import type { Scratch } from "./scratch.ts";
import type { ServerRuntime } from "./server.ts";

/** `server` of the runbook, filled. */
export interface ServerWish {
  readonly runtime: "auto" | "local" | "docker";
  readonly binDir: string | undefined;
  readonly image: string | undefined;
}

/**
 * Decides who runs the scratch server: programs of this machine, or else (`auto`) or always (`docker`) a container. When
 * it returns, the server is of the backup's major version and is known to start as its user. Throws a {@link UserError}
 * when the runbook names the wrong programs or image, and a {@link ToolError} with the ways out when there is neither.
 */
export async function chooseRuntime(
  wish: ServerWish,
  major: number,
  scratch: Scratch,
  context: Context,
): Promise<ServerRuntime> {
  const search =
    wish.runtime === "docker" ? undefined : await findServerBinary(major, wish.binDir, scratch.user, context);
  if (search?.binary !== undefined) return localRuntime(search.binary);
  const seen =
    search === undefined || search.others.length === 0 ? "" : ` (found: ${search.others.join(", ")})`;
  const missing = `The backup needs the server programs of PostgreSQL ${major}, and this machine has none${seen}`;
  const install = `install them with "apt-get install postgresql-${major}" from PostgreSQL's own repository (https://apt.postgresql.org)`;
  if (wish.runtime === "local") {
    throw new ToolError(`${missing}: ${install}, or name their folder as server.bin-dir.`);
  }
  const image = wish.image ?? `postgres:${major}`;
  // The client would take another first character as an option.
  if (!/^[\w.]\S*$/.test(image)) {
    throw new UserError(
      `server.image is ${quote(image)}, which is no name of an image: write one such as postgres:${major}.`,
    );
  }
  const { engine, refusals } = await findEngine(context);
  if (engine === undefined) {
    const answers = refusals.length === 0 ? "neither docker nor podman is in PATH" : refusals.join("; ");
    if (wish.runtime === "docker") {
      throw new ToolError(
        `server.runtime is docker, but no container engine answers (${answers}): start docker or podman on this machine, or use server.runtime: auto with the programs of PostgreSQL ${major}.`,
      );
    }
    throw new ToolError(
      `${missing}, and no container engine answers (${answers}): ${install}, or name their folder as server.bin-dir, or start docker or podman, so that the image ${image} can be used (server.image).`,
    );
  }
  await requireImage(engine, image, context);
  return await containerRuntime({ engine, image, scratch, context }, major);
}
