import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { delimiter, join } from "node:path";
import type { Context } from "../../context.ts";
import { ToolError, UserError } from "../../errors.ts";
import { type RunUser, runAs } from "./run-user.ts";

/** A `postgres` program of the wanted major version. */
export interface ServerBinary {
  readonly path: string;
  /** `15.18` */
  readonly version: string;
}

/** Folders in which distributions install one major version, in the order in which they are tried. */
export function binaryFolders(major: number, path: string | undefined): string[] {
  return [
    `/usr/lib/postgresql/${major}/bin`,
    `/usr/pgsql-${major}/bin`,
    `/opt/homebrew/opt/postgresql@${major}/bin`,
    `/usr/local/opt/postgresql@${major}/bin`,
    `/Applications/Postgres.app/Contents/Versions/${major}/bin`,
    ...(path ?? "").split(delimiter).filter((folder) => folder.startsWith("/")),
  ];
}

/** Major and full version in what `postgres --version` prints; undefined when it is another program. */
export function parseServerVersion(output: string): { major: number; version: string } | undefined {
  const match = /^postgres(?:\.bin)? \(PostgreSQL\) ((\d+)\S*)/.exec(output.trim());
  if (match === null) return undefined;
  return { major: Number(match[2]), version: match[1] ?? "" };
}

/** The program, or the versions of those that were found instead. */
export interface BinarySearch {
  readonly binary: ServerBinary | undefined;
  readonly others: readonly string[];
}

/**
 * Looks for `postgres` of the backup's major version: only the same major can read the data folder. `binDir` is the
 * runbook's `server.bin-dir`. Throws a {@link UserError} when that is wrong, and a {@link ToolError} when the server's
 * user cannot start the program.
 */
export async function findServerBinary(
  major: number,
  binDir: string | undefined,
  user: RunUser | undefined,
  context: Context,
): Promise<BinarySearch> {
  if (binDir !== undefined) {
    const path = join(binDir, "postgres");
    const found = await versionOf(path, context);
    if (found === undefined) {
      throw new UserError(
        `server.bin-dir is ${binDir}, but there is no PostgreSQL server program "postgres": name the bin folder of PostgreSQL ${major}.`,
      );
    }
    if (found.major !== major) {
      throw new UserError(
        `server.bin-dir is ${binDir}, which holds PostgreSQL ${found.version}, but the backup is of PostgreSQL ${major}: name the bin folder of that major version.`,
      );
    }
    return { binary: await usable(path, found.version, user, context), others: [] };
  }
  const others = new Set<string>();
  for (const folder of binaryFolders(major, context.env.PATH)) {
    const path = join(folder, "postgres");
    const found = await versionOf(path, context);
    if (found?.major === major) {
      return { binary: await usable(path, found.version, user, context), others: [] };
    }
    if (found !== undefined) others.add(found.version);
  }
  return { binary: undefined, others: [...others] };
}

async function versionOf(
  path: string,
  context: Context,
): Promise<{ major: number; version: string } | undefined> {
  try {
    await access(path, constants.X_OK);
  } catch {
    return undefined;
  }
  const answer = await context.runTool(path, ["--version"]);
  if (answer.exitCode !== 0) return undefined;
  return parseServerVersion(answer.stdout);
}

/** The program must also start as the user that the server will run as. */
async function usable(
  path: string,
  version: string,
  user: RunUser | undefined,
  context: Context,
): Promise<ServerBinary> {
  if (user === undefined) return { path, version };
  const answer = await runAs(user, path, ["--version"], context.signal);
  if (answer.exitCode === 0) return { path, version };
  throw new ToolError(
    `PostgreSQL must not run as root, and the user ${user.name} cannot start ${path}: make the folder readable for everybody, or install the server programs elsewhere.`,
  );
}
