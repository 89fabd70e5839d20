import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  startWalWindow,
  type WalFile,
  type WalWindow,
} from "../../../../src/postgres/recovery/wal-window.ts";
import { createScratch, type Scratch } from "../../../../src/postgres/scratch/scratch.ts";
import { type RoomContext, roomContext } from "../recovering.ts";

/** `restore_command` as PostgreSQL runs it: by the shell, in the data folder. The "server" is a process of our own. */

let context: RoomContext;
let scratch: Scratch;
let server: ChildProcess;
let window: WalWindow | undefined;
let fetched: string[];

beforeEach(async () => {
  context = await roomContext();
  scratch = await createScratch(undefined, context);
  server = spawn("sleep", ["600"], { stdio: "ignore" });
  writeFileSync(join(scratch.data, "postmaster.pid"), `${server.pid}\n${scratch.data}\n`);
  fetched = [];
});
afterEach(async () => {
  await window?.stop();
  server.kill("SIGKILL");
  await scratch.remove();
  expect(context.remains()).toEqual([]);
  await context[Symbol.asyncDispose]();
});

function segment(number: number): string {
  return `0000000100000000${number.toString(16).toUpperCase().padStart(8, "0")}`;
}

function file(name: string, content: () => Promise<Buffer> = async () => Buffer.from(name)): WalFile {
  return {
    name,
    fetch() {
      fetched.push(name);
      return content();
    },
  };
}

async function open(segments: WalFile[], histories: WalFile[] = [], windowSegments = 4): Promise<WalWindow> {
  window = await startWalWindow({ scratch, segments, histories, context, segmentBytes: 1, windowSegments });
  return window;
}

/** Exit code of `restore_command`, and what lies at its target afterwards. */
async function restore(name: string, target = "RECOVERYXLOG"): Promise<{ code: number; content: string }> {
  const command = (window?.command ?? "")
    .replaceAll("%f", name)
    .replaceAll("%p", target)
    .replaceAll("%%", "%");
  const child = spawn("/bin/sh", ["-c", command], { cwd: scratch.data, stdio: ["ignore", "ignore", "pipe"] });
  const [code] = await once(child, "close");
  let content = "";
  try {
    content = readFileSync(join(scratch.data, target), "utf8");
    rmSync(join(scratch.data, target));
  } catch {
    // It was not restored.
  }
  return { code, content };
}

test("hands over what is asked for, ahead of time and also a second time", async () => {
  const names = Array.from({ length: 12 }, (_, index) => segment(index));
  await open(names.map((name) => file(name)));
  for (const name of names) expect(await restore(name)).toEqual({ code: 0, content: name });
  expect(await restore(names[11] ?? "")).toEqual({ code: 0, content: names[11] });
  expect(fetched).toEqual(names);
  // Long gone: fetched once more.
  expect(await restore(names[0] ?? "")).toEqual({ code: 0, content: names[0] });
  expect(fetched.length).toBe(13);
});

test("never holds more than the window", async () => {
  const names = Array.from({ length: 40 }, (_, index) => segment(index));
  await open(
    names.map((name) => file(name)),
    [],
    5,
  );
  await sleep(300);
  expect(fetched.length).toBe(5);
  for (const name of names.slice(0, 3)) await restore(name);
  await sleep(300);
  expect(fetched.length).toBe(8);
});

test("gives a segment out of turn, however full the window is", async () => {
  const names = Array.from({ length: 40 }, (_, index) => segment(index));
  await open(
    names.map((name) => file(name)),
    [],
    2,
  );
  expect(await restore(names[30] ?? "")).toEqual({ code: 0, content: names[30] });
});

test("answers 1 only for what is proven absent, and fetches a history file when it is asked for", async () => {
  await open([file(segment(1))], [file("00000002.history")]);
  expect((await restore("00000003.history")).code).toBe(1);
  expect((await restore(segment(2))).code).toBe(1);
  expect(await restore("00000002.history", "RECOVERYHISTORY")).toEqual({
    code: 0,
    content: "00000002.history",
  });
  expect((await restore("../../etc/passwd")).code).toBe(201);
});

test("ends recovery for a file that could not be had, and knows why", async () => {
  const failure = new Error("no");
  const { failureOf } = await open([file(segment(1)), file(segment(2), () => Promise.reject(failure))]);
  expect((await restore(segment(1))).code).toBe(0);
  const { code } = await restore(segment(2));
  expect(code).toBeGreaterThan(125);
  // That would be SIGTERM, which PostgreSQL takes for a shutdown.
  expect(code).not.toBe(143);
  expect(failureOf(segment(2))).toBe(failure);
  expect(failureOf(segment(1))).toBeUndefined();
});

test("does not wait for ever when the server is gone", async () => {
  await open([file(segment(1), () => new Promise(() => undefined))]);
  const waiting = restore(segment(1));
  await sleep(200);
  server.kill("SIGKILL");
  expect((await waiting).code).toBeGreaterThan(125);
});

test("says so when its own folders are gone", async () => {
  const { broken } = await open([file(segment(1))]);
  rmSync(scratch.wal, { recursive: true });
  while (broken() === undefined) await sleep(20);
  expect(String(broken())).toMatch(/ENOENT/);
});

test("answers what is asked while it is busy, although it saw that file lie ready before", async () => {
  const names = Array.from({ length: 16 }, (_, index) => segment(index));
  await open(
    names.map((name) => file(name)),
    [],
    names.length,
  );
  const path = (which: string, name: string) => join(scratch.wal, which, name);
  const isReady = (name: string) =>
    expect.poll(() => existsSync(path("ready", name)), { timeout: 15_000 }).toBe(true);
  for (const name of names) await isReady(name);
  // Once a later segment is taken, all of these are swept away, which keeps it busy for a second or more.
  for (let junk = 0; junk < 20_000; junk += 1) writeFileSync(path("kept", `junk-${junk}`), "");

  const [taken = "", asked = ""] = names.slice(10, 12);
  renameSync(path("ready", taken), join(scratch.data, "RECOVERYXLOG"));
  await sleep(200);
  renameSync(path("ready", asked), join(scratch.data, "RECOVERYXLOG"));
  writeFileSync(path("asked", asked), "");

  await isReady(asked);
});
