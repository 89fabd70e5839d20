import { readdir, readFile } from "node:fs/promises";
import type { RunningStep } from "../../scripts/lib/runner.ts";

export type { RunningStep } from "../../scripts/lib/runner.ts";

/** A process, told apart from a later one that gets the same number. */
interface Seen {
  readonly pid: number;
  readonly startedAt: string;
  readonly command: string;
}

/** All processes below a running step right now. Linux only: elsewhere none are found. */
export async function descendants(step: RunningStep): Promise<Seen[]> {
  const all = await processes();
  const found = new Set([step.pid]);
  const below: Seen[] = [];
  // A child is always listed after its parent has been found, whatever the order: repeat until nothing is new.
  for (let before = -1; before !== found.size; ) {
    before = found.size;
    for (const one of all) {
      if (found.has(one.parent) && !found.has(one.pid)) {
        found.add(one.pid);
        below.push(one);
      }
    }
  }
  return below;
}

/** Which of these still run, zombies aside; as `pid command`. */
export async function stillRunning(seen: readonly Seen[]): Promise<string[]> {
  const known = new Set(seen.map((one) => `${one.pid} ${one.startedAt}`));
  return (await processes())
    .filter((one) => one.state !== "Z" && known.has(`${one.pid} ${one.startedAt}`))
    .map((one) => `${one.pid} ${one.command}`);
}

/** What a step left running: every process that has the step's private folder in its command or environment. */
export async function survivorsOf(step: RunningStep): Promise<string[]> {
  const all = (await processes()).filter((one) => one.state !== "Z");
  const environments = await Promise.all(
    all.map((one) => readFile(`/proc/${one.pid}/environ`, "latin1").catch(() => "")),
  );
  return all
    .filter((one, index) => `${one.command} ${environments[index]}`.includes(step.folder))
    .map((one) => `${one.pid} ${one.command}`);
}

async function processes(): Promise<(Seen & { parent: number; state: string })[]> {
  const names = await readdir("/proc").catch(() => []);
  const found = await Promise.all(
    names.filter((name) => /^\d+$/.test(name)).map((name) => readProcess(Number(name))),
  );
  return found.filter((one) => one !== undefined);
}

async function readProcess(pid: number): Promise<(Seen & { parent: number; state: string }) | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8");
    // The name in parentheses may hold blanks: count the fields after it (proc_pid_stat(5)).
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return {
      pid,
      parent: Number(fields[1]),
      state: fields[0] ?? "",
      startedAt: fields[19] ?? "",
      command: command.replaceAll("\0", " ").trim() || stat.split(")")[0] || "",
    };
  } catch {
    // It ended in the meantime.
    return undefined;
  }
}
