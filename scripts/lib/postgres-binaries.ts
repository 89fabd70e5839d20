import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { cp } from "node:fs/promises";
import { join, resolve } from "node:path";
import { guardedFolder, isTraversable, type User } from "./guard.ts";

const MODULES = resolve(import.meta.dirname, "../../node_modules");

/** The PostgreSQL majors whose binaries npm installed for this machine, ascending. */
export function availableMajors(): number[] {
  const name = new RegExp(`^pg(\\d+)-${process.platform}-${process.arch}$`);
  return readdirSync(MODULES)
    .map((folder) => Number(name.exec(folder)?.[1]))
    .filter((major) => !Number.isNaN(major) && existsSync(join(folderOf(major), "bin/postgres")))
    .sort((a, b) => a - b);
}

/** PostgreSQL refuses to run as root: the user it is started as then, `postgres` or else `nobody`. */
export function serverUser(): User | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ["postgres", "nobody"]) {
    try {
      return { uid: idOf("-u", name), gid: idOf("-g", name) };
    } catch {
      // This machine has no such user.
    }
  }
  throw new Error(
    "PostgreSQL does not run as root, and this machine has neither a user postgres nor nobody.",
  );
}

const copies = new Map<number, Promise<string>>();

/** The folder with `postgres`, `initdb` and `pg_ctl` of a major, at a place that `user` can reach. */
export async function binariesFor(major: number, user: User | undefined): Promise<string> {
  const folder = folderOf(major);
  if (!existsSync(join(folder, "bin/postgres"))) {
    throw new Error(`No PostgreSQL ${major} in node_modules; there are: ${availableMajors().join(", ")}.`);
  }
  if (user === undefined || isTraversable(join(folder, "bin"))) return join(folder, "bin");
  const copy = copies.get(major) ?? copyOf(major, user);
  copies.set(major, copy);
  return join(await copy, "bin");
}

/** A checkout below a private folder cannot be entered by the other user: copy once per process. */
async function copyOf(major: number, user: User): Promise<string> {
  const target = (await guardedFolder(`drillbook-pg${major}-bin-`, user)).path;
  await cp(folderOf(major), target, { recursive: true, verbatimSymlinks: true });
  execFileSync("chown", ["-R", `${user.uid}:${user.gid}`, target]);
  return target;
}

function folderOf(major: number): string {
  return join(MODULES, `pg${major}-${process.platform}-${process.arch}`, "native");
}

function idOf(option: string, name: string): number {
  return Number(execFileSync("id", [option, name], { stdio: ["ignore", "pipe", "ignore"] }).toString());
}
