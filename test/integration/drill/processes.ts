import { existsSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** The pid that a shell wrote into a file, as soon as it is there. */
export async function pidIn(file: string): Promise<number> {
  for (;;) {
    const pid = existsSync(file) ? Number(readFileSync(file, "utf8").trim()) : 0;
    if (pid > 0) return pid;
    await sleep(10);
  }
}

/** Waits until a process has ended; one that nobody reaped yet has. */
export async function untilEnded(pid: number): Promise<void> {
  while (runs(pid)) await sleep(10);
}

export function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return process.platform !== "linux" || !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
