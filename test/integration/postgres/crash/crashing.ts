import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { listBackups } from "../../../../src/catalog/backups.ts";
import { objectKey, partOf, verificationId } from "../../../../src/catalog/layout.ts";
import { readLease } from "../../../../src/catalog/lease-objects.ts";
import { lsn, segmentAt, segmentBefore } from "../../../../src/catalog/lsn.ts";
import { chainFrom, listSegments, wholeSegments } from "../../../../src/catalog/wal.ts";
import { endOfNeededWal } from "../../../../src/postgres/details.ts";
import type { Store } from "../../../../src/stores/store.ts";
import { detailsOf, keysOf } from "../taking.ts";
import type { CrashChild } from "./crash-child.ts";

const CHILD = fileURLToPath(new URL("./crash-child.ts", import.meta.url));

export interface Running {
  readonly lines: string[];
  /** Settles at the line `begin`. */
  begun(): Promise<void>;
  /** The exit code; null after a signal. */
  readonly ended: Promise<number | null>;
  kill9(): Promise<void>;
}

export function run(child: CrashChild): Running {
  const process_ = spawn(process.execPath, [CHILD, JSON.stringify(child)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const lines: string[] = [];
  for (const stream of [process_.stdout, process_.stderr]) {
    createInterface(stream).on("line", (line) => lines.push(line));
  }
  const ended = once(process_, "close").then(() => process_.exitCode);
  return {
    lines,
    ended,
    async begun() {
      while (!lines.includes("begin")) {
        if (hasEnded(process_)) throw new Error(`It ended:\n${lines.join("\n")}`);
        await sleep(2);
      }
    },
    async kill9() {
      if (!hasEnded(process_)) process_.kill("SIGKILL");
      await ended;
    },
  };
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** What is wrong with the backups that are listed: an object that is not there or too short, WAL that is missing. */
export async function flawsOf(store: Store): Promise<string[]> {
  const flaws: string[] = [];
  for (const backup of await listBackups(store, "db")) {
    for (const object of backup.objects) {
      const found = await store.stat(objectKey("db", backup.id, object.name));
      if (found?.bytes !== object.storedBytes) flaws.push(`${backup.id}: ${object.name} has ${found?.bytes}`);
    }
    const details = detailsOf(backup);
    const inventory = await listSegments(store, "db", details.walSegmentBytes);
    const chain = wholeSegments(chainFrom(inventory, lsn(details.startLsn), details.timeline));
    const end = segmentBefore(endOfNeededWal(details), details.walSegmentBytes);
    if ((chain.at(-1)?.number ?? -1) < end) flaws.push(`${backup.id}: its WAL ends too early`);
  }
  return flaws;
}

/** What a run that was killed left and that a later one should have cleared away. */
export async function remainsIn(store: Store, folder: string): Promise<string[]> {
  const backups = await listBackups(store, "db");
  const listed = new Set(backups.map((backup) => backup.id));
  const remains = (await keysOf(store, "db/")).filter((key) => {
    const id = partOf("db", key) ?? verificationId("db", key);
    return id !== undefined && !listed.has(id);
  });
  for (const name of await readdir(folder, { recursive: true })) {
    if (name.includes(".drillbook-")) remains.push(name);
  }
  const lease = await readLease(store, "db", new AbortController().signal);
  if (lease?.newest.document?.released !== true) remains.push("the lease");
  remains.push(...(lease?.older ?? []));
  const [oldest] = backups.map(detailsOf);
  if (oldest !== undefined) {
    const { unfinished } = await listSegments(store, "db", oldest.walSegmentBytes);
    const first = segmentAt(lsn(oldest.startLsn), oldest.walSegmentBytes);
    remains.push(...unfinished.filter((name) => Number.parseInt(name.slice(16), 16) >= first));
  }
  return remains;
}
