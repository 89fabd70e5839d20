import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type CommandResult, runCommand } from "../../../src/drill/command.ts";
import { AbortedError } from "../../../src/errors.ts";
import { testContext } from "../../support/context.ts";
import { pidIn, runs, untilEnded } from "./processes.ts";

interface Run {
  readonly lines: string[];
  readonly result: CommandResult;
}

async function run(
  command: string,
  options: { env?: Record<string, string>; limitSeconds?: number } = {},
): Promise<Run> {
  await using context = await testContext();
  const lines: string[] = [];
  const result = await runCommand(command, {
    env: { ...process.env, ...options.env },
    signal: context.signal,
    limitSeconds: options.limitSeconds,
    onLine: (line) => lines.push(line),
  });
  return { lines, result };
}

describe("a command", () => {
  it("succeeds with exit code 0, and each of its lines is handed out", async () => {
    const { result, lines } = await run("echo one; echo two >&2; printf three");
    expect(result).toMatchObject({ outcome: "succeeded", leftRunning: undefined });
    expect(lines.sort()).toEqual(["one", "three", "two"]);
  });

  it.each([
    ["exit 3", "failed", "ended with exit code 3"],
    ["kill -9 $$", "failed", "was ended by SIGKILL"],
    ["/nonexistent/tool", "not-runnable", "names a command that was not found (exit code 127)"],
    ["/etc/passwd", "not-runnable", "names a file that cannot be executed (exit code 126)"],
  ])("%s is %s", async (command, outcome, summary) => {
    expect((await run(command)).result).toMatchObject({ outcome, summary });
  });

  it("sees the variables it is given", async () => {
    const { lines } = await run('echo "$DRILLBOOK_DB_URL"', { env: { DRILLBOOK_DB_URL: "postgresql://x" } });
    expect(lines).toEqual(["postgresql://x"]);
  });

  it("is remembered by its last lines only, however much it prints", async () => {
    const { result, lines } = await run(
      "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; exit 1",
    );
    expect(lines).toHaveLength(5000);
    expect(result.tail).toHaveLength(20);
    expect(result.tail.at(-1)).toBe("line 4999");
  });

  it("cannot fill the memory with one endless line", async () => {
    const { lines } = await run("head -c 3000000 /dev/zero | tr '\\0' x");
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(4096);
    expect(lines.join("")).toHaveLength(3_000_000);
  });

  it("cannot drown the log: what is more than some megabytes is not handed out, but its end is remembered", async () => {
    const { result, lines } = await run("yes | head -n 500000; echo the end; exit 1");
    expect(lines.length).toBeLessThan(100_000);
    expect(lines.at(-1)).toContain("not shown");
    expect(result.tail.at(-1)).toBe("the end");
  });

  it("is stopped with all it started when its time is over", async () => {
    await using context = await testContext();
    const file = join(context.workDir, "pid");
    const { result } = await run(`sleep 300 & echo $! > ${file}; wait`, { limitSeconds: 0.5 });
    expect(result).toMatchObject({ outcome: "timed-out", leftRunning: undefined });
    const pid = await pidIn(file);
    await untilEnded(pid);
  });

  it("is stopped with all it started when the work is stopped, also if it does not listen", async () => {
    await using context = await testContext();
    const file = join(context.workDir, "pid");
    const ended = runCommand(
      `trap '' TERM; (trap '' TERM; echo $$ > ${file}.shell; sleep 300) & echo $! > ${file}; wait; wait`,
      {
        env: process.env,
        signal: context.signal,
        onLine: () => undefined,
      },
    );
    const pid = await pidIn(file);
    const shell = await pidIn(`${file}.shell`);
    context.abort();
    await expect(ended).rejects.toBeInstanceOf(AbortedError);
    await untilEnded(pid);
    await untilEnded(shell);
  });

  it("does not start when the work was stopped already", async () => {
    await using context = await testContext();
    context.abort();
    const file = join(context.workDir, "touched");
    await expect(
      runCommand(`touch ${file}`, { env: process.env, signal: context.signal, onLine: () => undefined }),
    ).rejects.toBeInstanceOf(AbortedError);
    expect(existsSync(file)).toBe(false);
  });

  it("may leave a server running, which is handed out to be stopped later", async () => {
    await using context = await testContext();
    const file = join(context.workDir, "pid");
    const { result } = await run(`sleep 300 & echo $! > ${file}`);
    const pid = await pidIn(file);
    expect(result.outcome).toBe("succeeded");
    expect(runs(pid)).toBe(true);
    await result.leftRunning?.stop();
    await untilEnded(pid);
  });
});
