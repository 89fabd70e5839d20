import { type ChildProcess, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { AbortedError, codeOf, messageOf, ToolError } from "../errors.ts";
import { formatDuration } from "../values.ts";

const TAIL_LINES = 20;
const LONGEST_LINE = 4_096;
/** How much of a command's output is handed out; a line counts as longer than it is, for it costs more than its text. */
const LONGEST_OUTPUT = 8 * 2 ** 20;
const LINE_COST = 100;
/** How long a process group may take to end by itself before it is killed. */
const GRACE_MS = 1_500;
/** How long killed processes are waited for; those that nobody reaps look alive for ever. */
const KILL_MS = 200;
/** How long output may still come after the shell has ended: what it left in the background can hold the pipe for ever. */
const DRAIN_MS = 250;

export interface CommandOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  /** Called with each line of output as it comes; over-long lines come in pieces, and megabytes are cut short. */
  onLine(line: string): void;
  /** After so many seconds the command and all it started are killed. */
  readonly limitSeconds?: number | undefined;
}

export interface CommandResult {
  readonly outcome: "succeeded" | "failed" | "timed-out" | "not-runnable";
  /** One clause for people: `ended with exit code 3`. */
  readonly summary: string;
  /** The last lines of output, as they came. */
  readonly tail: readonly string[];
  /** What the command left running behind it; the caller stops it when the drill is over. */
  readonly leftRunning: ProcessGroup | undefined;
}

/** Processes that a command started, as one thing that can be stopped. */
export interface ProcessGroup {
  /** Asks all of them to end, kills those that do not; resolves when they are gone or nothing more can be done. */
  stop(): Promise<void>;
}

/**
 * Runs a line of `/bin/sh` in a process group of its own and waits for the shell to end. A bad end is an answer, not an
 * error. Throws AbortedError when the signal ended it (then the group is gone) and ToolError when no shell could start.
 */
export async function runCommand(command: string, options: CommandOptions): Promise<CommandResult> {
  const { signal } = options;
  if (signal.aborted) throw new AbortedError();
  const child = spawn("/bin/sh", ["-c", command], {
    env: { ...options.env },
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const tail: string[] = [];
  let room = LONGEST_OUTPUT;
  const onLine = (line: string) => {
    tail.push(line);
    if (tail.length > TAIL_LINES) tail.shift();
    if (room <= 0) return;
    room -= line.length + LINE_COST;
    options.onLine(room > 0 ? line : "(It prints too much: the rest of its output is not shown.)");
  };
  const drained = Promise.all([readLines(child.stdout, onLine), readLines(child.stderr, onLine)]);

  const ended = exitOf(child);
  const group = groupOf(child);
  const limit = new AbortController();
  let why: "ended" | "aborted" | "limit";
  try {
    why = await Promise.race([
      ended.then(() => "ended" as const),
      abortOf(signal, limit.signal),
      timeLimit(options.limitSeconds, limit.signal),
    ]);
    if (why !== "ended") await group.stop();
  } finally {
    limit.abort();
  }
  await Promise.race([drained, sleep(DRAIN_MS)]);
  if (why === "aborted") throw new AbortedError();
  if (why === "limit") {
    const summary = `did not end within ${formatDuration(options.limitSeconds ?? 0)} and was stopped`;
    return { outcome: "timed-out", summary, tail, leftRunning: undefined };
  }
  const leftRunning = group.alive() ? group : undefined;
  return { ...judge(await ended), tail, leftRunning };
}

/** `not-runnable` are the shell's own exit codes for a command that it cannot find (127) or execute (126). */
function judge(exit: Exit): Pick<CommandResult, "outcome" | "summary"> {
  if (exit.signal !== null) return { outcome: "failed", summary: `was ended by ${exit.signal}` };
  if (exit.code === 0) return { outcome: "succeeded", summary: "ended with exit code 0" };
  if (exit.code === 127)
    return { outcome: "not-runnable", summary: "names a command that was not found (exit code 127)" };
  if (exit.code === 126)
    return { outcome: "not-runnable", summary: "names a file that cannot be executed (exit code 126)" };
  return { outcome: "failed", summary: `ended with exit code ${exit.code}` };
}

interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

function exitOf(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve, reject) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
    child.once("error", (error) => {
      reject(new ToolError(`/bin/sh could not be started: ${messageOf(error)}.`, { cause: error }));
    });
  });
}

function abortOf(signal: AbortSignal, cancel: AbortSignal): Promise<"aborted"> {
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve("aborted"), { once: true, signal: cancel });
  });
}

function timeLimit(seconds: number | undefined, cancel: AbortSignal): Promise<"limit"> {
  return new Promise((resolve) => {
    if (seconds === undefined) return;
    const timer = setTimeout(() => resolve("limit"), seconds * 1000);
    cancel.addEventListener("abort", () => clearTimeout(timer), { once: true });
  });
}

function groupOf(child: ChildProcess): ProcessGroup & { alive(): boolean } {
  const { pid } = child;
  const send = (signal: NodeJS.Signals | 0): boolean => {
    if (pid === undefined) return false;
    try {
      return process.kill(-pid, signal);
    } catch (error) {
      // EPERM: somebody else's by now, or a member that changed its user; nothing that we could end.
      if (codeOf(error) === "ESRCH" || codeOf(error) === "EPERM") return false;
      throw error;
    }
  };
  const gone = async (withinMs: number): Promise<boolean> => {
    const until = performance.now() + withinMs;
    while (send(0)) {
      if (performance.now() > until) return false;
      await sleep(25);
    }
    return true;
  };
  return {
    alive: () => send(0),
    async stop() {
      send("SIGTERM");
      if (!(await gone(GRACE_MS))) {
        send("SIGKILL");
        await gone(KILL_MS);
      }
      child.stdout?.destroy();
      child.stderr?.destroy();
    },
  };
}

/** Hands out the lines of a stream with bounded memory; resolves when it ends or breaks. */
function readLines(stream: Readable, onLine: (line: string) => void): Promise<void> {
  let rest = "";
  const flush = () => {
    if (rest !== "") onLine(rest);
    rest = "";
  };
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line.endsWith("\r") ? line.slice(0, -1) : line);
    while (rest.length > LONGEST_LINE) {
      onLine(rest.slice(0, LONGEST_LINE));
      rest = rest.slice(LONGEST_LINE);
    }
  });
  return new Promise((resolve) => {
    stream.once("error", () => resolve());
    stream.once("close", () => {
      flush();
      resolve();
    });
  });
}
