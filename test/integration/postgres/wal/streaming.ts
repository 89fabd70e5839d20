import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { leaseKey } from "../../../../src/catalog/layout.ts";
import { readLease } from "../../../../src/catalog/lease-objects.ts";
import type { StoreConfig } from "../../../../src/stores/config.ts";
import type { Store } from "../../../../src/stores/store.ts";
import type { TestPostgres } from "../../../support/postgres.ts";
import type { Source } from "../recovering.ts";
import type { StreamChild } from "./stream-child.ts";

const CHILD = fileURLToPath(new URL("./stream-child.ts", import.meta.url));

/** A point every second. */
export const FRESH = { freshness: { wal: "2s" } };

/** A streaming run in a process of its own. */
export interface Streaming {
  readonly lines: string[];
  /** Waits until a line of the log matches so many times. */
  until(pattern: RegExp, times?: number): Promise<void>;
  /** As in a power cut, and some minutes later. */
  kill9(): Promise<void>;
}

export async function streamAside(
  source: Source,
  more: Partial<StreamChild> & { readonly env?: Readonly<Record<string, string>> } = {},
): Promise<Streaming> {
  const { env, ...options } = more;
  const folder: StoreConfig = { type: "file", path: join(source.taking.context.workDir, "store") };
  const child: StreamChild = {
    store: folder,
    url: source.server.url,
    config: FRESH,
    recipients: source.setting.encryption.recipients,
    seconds: 600,
    ...options,
  };
  const lines: string[] = [];
  const process_ = spawn(process.execPath, [CHILD, JSON.stringify(child)], {
    // What it leaves when it is killed goes with the source.
    env: { ...process.env, TMPDIR: source.taking.context.workDir, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  for (const stream of [process_.stdout, process_.stderr]) {
    createInterface(stream).on("line", (line) => lines.push(line));
  }
  return {
    lines,
    async until(pattern, times = 1) {
      while (lines.filter((line) => pattern.test(line)).length < times) {
        if (hasEnded(process_)) throw new Error(`The stream ended:\n${lines.join("\n")}`);
        await sleep(20);
      }
    },
    async kill9() {
      if (hasEnded(process_)) return;
      process_.kill("SIGKILL");
      await once(process_, "close");
      await expireLease(source.taking.store);
    },
  };
}

/** As if the lease of a dead process had run out: a test does not wait for it. */
export async function expireLease(store: Store): Promise<void> {
  const lease = await readLease(store, "db", new AbortController().signal);
  if (lease === undefined) return;
  const { number, document } = lease.newest;
  const gone = { ...document, released: true };
  await store.create(leaseKey("db", number + 1), Buffer.from(JSON.stringify(gone)));
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** Commits one row after another; row n + 1 begins only when row n was acknowledged. */
export interface Writer {
  /** Ends, and gives the clock of each row's beginning, by id. */
  stop(): Promise<string[]>;
}

export async function startWriter(server: TestPostgres, rowBytes = 200): Promise<Writer> {
  await server.query(
    "CREATE TABLE IF NOT EXISTS marks (id serial PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), note text)",
  );
  const client = await server.client();
  let stopped = false;
  async function write(): Promise<void> {
    while (!stopped) {
      await client.query(
        "INSERT INTO marks (note) SELECT string_agg(md5(random()::text), '') FROM generate_series(1, $1)",
        [Math.ceil(rowBytes / 32)],
      );
      await sleep(1);
    }
  }
  const writing = write();
  writing.catch(() => undefined);
  return {
    async stop() {
      stopped = true;
      await writing;
      await client.end();
      const rows = await server.query<{ at: string }>(
        `SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at FROM marks ORDER BY id`,
      );
      return rows.map((row) => row.at);
    },
  };
}

/** How many of the writer's rows were acknowledged before a moment: each one before its successor began. */
export function acknowledgedBefore(clocks: readonly string[], moment: string): number {
  const later = clocks.findIndex((at) => at > moment);
  return Math.max(0, (later < 0 ? clocks.length : later) - 1);
}
