import { readFile } from "node:fs/promises";
import type { ToolResult } from "../../context.ts";
import { ToolError } from "../../errors.ts";
import { runBounded } from "./tool.ts";

/** Whom the scratch server runs as. */
export interface RunUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** Looked for in this order: PostgreSQL refuses to run as root. */
const CANDIDATES = ["postgres", "nobody"];

/** The user to drop to; undefined when this process is not root and the server simply runs as the same user. */
export async function findRunUser(): Promise<RunUser | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const passwd = await readFile("/etc/passwd", "utf8");
  const user = pickRunUser(passwd);
  if (user !== undefined) return user;
  throw new ToolError(
    "PostgreSQL refuses to run as root, and this machine has neither a user postgres nor nobody: run the job as a normal user.",
  );
}

/** The first candidate in the text of /etc/passwd; an entry with the uid 0 is not one. */
export function pickRunUser(passwd: string): RunUser | undefined {
  const users = new Map<string, RunUser>();
  for (const line of passwd.split("\n")) {
    const [name = "", , uid = "", gid = ""] = line.split(":");
    if (!/^\d+$/.test(uid) || !/^\d+$/.test(gid) || Number(uid) === 0) continue;
    users.set(name, { name, uid: Number(uid), gid: Number(gid) });
  }
  return CANDIDATES.map((name) => users.get(name)).find((user) => user !== undefined);
}

/** The identity for `spawn`: nothing when the process keeps its own user. */
export function identityOf(user: RunUser | undefined): { uid?: number; gid?: number } {
  return user === undefined ? {} : { uid: user.uid, gid: user.gid };
}

const TOOL_SECONDS = 20;

/**
 * Runs a short tool as the server's user and returns its answer; a tool that this user cannot even start is answered
 * with 126. It is how we learn what that user can reach, whatever modes, ACLs and mounts say.
 */
export async function runAs(
  user: RunUser | undefined,
  command: string,
  args: readonly string[],
  signal: AbortSignal,
): Promise<ToolResult> {
  return await runBounded(command, args, {
    ...identityOf(user),
    env: { PATH: process.env.PATH, LC_ALL: "C", LD_LIBRARY_PATH: process.env.LD_LIBRARY_PATH },
    seconds: TOOL_SECONDS,
    signal,
  });
}
