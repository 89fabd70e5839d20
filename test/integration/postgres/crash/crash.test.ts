import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listBackupIds, listBackups } from "../../../../src/catalog/backups.ts";
import { leaseKey } from "../../../../src/catalog/layout.ts";
import { takeLease } from "../../../../src/catalog/lease.ts";
import { readLease } from "../../../../src/catalog/lease-objects.ts";
import { recordVerification } from "../../../../src/catalog/verifications.ts";
import type { Context } from "../../../../src/context.ts";
import { ToolError } from "../../../../src/errors.ts";
import { backupPostgres } from "../../../../src/postgres/backup.ts";
import { prunePostgres } from "../../../../src/postgres/prune.ts";
import { NIGHTLY } from "../../../support/nightly.ts";
import { ask, openSource, type Source } from "../recovering.ts";
import type { CrashAction, CrashChild } from "./crash-child.ts";
import { flawsOf, type Running, remainsIn, run } from "./crashing.ts";

const POINTS = NIGHTLY ? 60 : 12;
/** On a slow machine the default run makes fewer points. */
const TIME_BOX_MS = NIGHTLY ? Number.POSITIVE_INFINITY : 40_000;
/** More than a lease lives after its holder's death, so that the next run does not wait in the test. */
const LATER_MS = 200_000;

const CONFIG = { retention: { keep: "1s", minimum: 1 }, freshness: { wal: "1s" }, census: false };

let source: Source;

beforeAll(async () => {
  source = await openSource({
    postgres: {
      major: 17,
      initdbArgs: ["--wal-segsize=1"],
      settings: { max_wal_size: "8MB", min_wal_size: "2MB" },
    },
    config: CONFIG,
  });
  await source.server.query("CREATE TABLE rows (id serial PRIMARY KEY, note text)");
});
afterAll(async () => {
  await source[Symbol.asyncDispose]();
});

function folder(): string {
  return join(source.taking.context.workDir, "store");
}

function childOf(action: CrashAction, aheadMs = 0, delayMs = 3): CrashChild {
  return { action, folder: folder(), url: source.server.url, config: CONFIG, aheadMs, delayMs };
}

function contextAt(aheadMs: number): Context {
  return { ...source.taking.context, now: () => new Date(Date.now() + aheadMs) };
}

/** About two MiB of WAL and one more row. */
async function writeRows(): Promise<void> {
  await source.server.query(
    "INSERT INTO rows (note) SELECT string_agg(md5(g::text), '') FROM generate_series(1, 60000) g",
  );
}

/** A server notices soon that a reader of its slot has died. */
async function slotIsFree(): Promise<void> {
  for (let look = 0; look < 200; look += 1) {
    const rows = await source.server.query("SELECT 1 FROM pg_replication_slots WHERE active");
    if (rows.length === 0) return;
    await sleep(20);
  }
  throw new Error("The slot is still in use.");
}

describe("runs that begin at once", () => {
  test("two backups and a retention work one after another", async () => {
    await source.backup();
    const children = (["full", "full", "prune"] as const).map((action) => run(childOf(action)));
    const codes = await Promise.all(children.map((child) => child.ended));
    const all = children.flatMap((child) => child.lines);
    expect(codes, all.join("\n")).toEqual([0, 0, 0]);
    expect(await listBackupIds(source.taking.store, "db")).toHaveLength(3);
    expect(await flawsOf(source.taking.store)).toEqual([]);
    expect(await remainsIn(source.taking.store, folder())).toEqual([]);
    const waited = all.filter((line) =>
      /holds the lease \(until .*waiting up to 10 min for it to end/.test(line),
    );
    expect(waited.length).toBeGreaterThan(0);
  });

  test("a run with wal leaves the WAL to one that it has seen live, and claims nothing of its own", async () => {
    const { store, context } = source.taking;
    const timing = { expiry: 6_000, renewEvery: 200, skew: 2_000, lookEvery: 50 };
    const request = { store, component: "db", kind: "full", waitSeconds: 0, yields: false, timing } as const;
    const lease = await takeLease(request, context);
    if ("who" in lease) throw new Error(lease.who);
    try {
      const outcome = await backupPostgres(source.setting, "wal", context, { leaseTiming: timing });
      expect(outcome).toMatchObject({ manifest: undefined, bytes: 0, recoverableUntil: undefined });
      expect(outcome.notes).toEqual([
        {
          severity: "notice",
          text: expect.stringMatching(/^the full backup of process .* archives the WAL/),
        },
      ]);
      const full = backupPostgres(source.setting, "full", context, { leaseTiming: timing, waitSeconds: 0 });
      await expect(full).rejects.toThrow(ToolError);
      await expect(full).rejects.toThrow(
        /db: the full backup of process .*still holds the lease.*input wait-for/,
      );
      expect((await prunePostgres(source.setting, context, { waitSeconds: 0 })).notes[0]?.text).toMatch(
        /retention deleted nothing this time, because the full backup/,
      );
      // A stream of its own goes on for what is left of its time, here nothing.
      const stream = await backupPostgres(source.setting, "wal", context, {
        leaseTiming: timing,
        streamSeconds: 1,
      });
      expect(stream.recoverableUntil).toBeUndefined();
    } finally {
      await lease.release();
    }
  });
});

describe("a full backup whose lease another run takes over", () => {
  /** Its store, in which another run becomes the holder at a moment. */
  function overtaken(moment: "before" | "after"): Source["setting"] {
    const { store } = source.taking;
    async function takeOver(signal?: AbortSignal): Promise<void> {
      const lease = await readLease(store, "db", signal ?? new AbortController().signal);
      const { number = 0, document } = lease?.newest ?? {};
      const other = { ...document, token: "other", holder: "https://example.com/runs/1" };
      await store.create(leaseKey("db", number + 1), Buffer.from(JSON.stringify(other)));
    }
    return {
      ...source.setting,
      store: {
        ...store,
        async stat(key, signal) {
          if (moment === "before" && key.endsWith("base.tar.zst")) await takeOver(signal);
          return await store.stat(key, signal);
        },
        async create(key, body, signal) {
          const created = await store.create(key, body, signal);
          if (moment === "after" && key.endsWith("manifest.json")) await takeOver(signal);
          return created;
        },
      },
    };
  }

  test.each(["before", "after"] as const)("%s its manifest is written is not listed", async (moment) => {
    const { store, context } = source.taking;
    const before = await listBackupIds(store, "db");
    await expect(backupPostgres(overtaken(moment), "full", context)).rejects.toThrow(
      /Another run has taken the lease of "db" over \(https:\/\/example\.com\/runs\/1\)/,
    );
    expect(await listBackupIds(store, "db")).toEqual(before);
    // The next run clears the parts away that the first one no longer touched.
    await backupPostgres(source.setting, "wal", contextAt(LATER_MS));
    expect(await remainsIn(store, folder())).toEqual([]);
  });
});

describe("kill -9", () => {
  test(`at ${POINTS} random points leaves every listed backup whole, and the next run clears up`, {
    timeout: 1_200_000,
  }, async () => {
    const { store } = source.taking;
    const seed = Number(process.env.DRILLBOOK_SEED ?? Date.now() % 1_000_000);
    const random = generator(seed);
    console.log(`seed ${seed}`);
    let ahead = 0;
    const durations = new Map<CrashAction, number>();
    for (const action of ["full", "wal", "prune"] as const) {
      if (action === "prune") await prepareToPrune(ahead);
      durations.set(action, await timeOf(action, ahead));
    }
    durations.set("stream", 2_000);
    const actions: readonly CrashAction[] = ["full", "wal", "prune", "stream"];
    const began = performance.now();
    const story: string[] = [];
    const seen = { killed: 0, ended: 0 };
    for (let point = 0; point < POINTS && performance.now() - began < TIME_BOX_MS; point += 1) {
      const action = actions[point % actions.length] ?? "full";
      await writeRows();
      if (action === "prune") await prepareToPrune(ahead);
      const before = await listBackups(store, "db");
      const offset = random() * (durations.get(action) ?? 0);
      const child = run(childOf(action, ahead));
      await child.begun();
      await sleep(offset);
      await child.kill9();
      seen[(await child.ended) === null ? "killed" : "ended"] += 1;
      story.push(`${point}: ${action} after ${offset.toFixed(0)} ms: ${await remainsIn(store, folder())}`);
      const said = () => `seed ${seed}\n${story.join("\n")}\n${child.lines.join("\n")}`;

      expect(await flawsOf(store), said()).toEqual([]);
      const ids = new Set(await listBackupIds(store, "db"));
      const lost = before.filter((backup) => !ids.has(backup.id));
      if (action === "prune") expect(ids.has(before.at(-1)?.id ?? ""), said()).toBe(true);
      else expect(lost, said()).toEqual([]);

      await slotIsFree();
      ahead += LATER_MS;
      await next(action, ahead);
      expect(await flawsOf(store), said()).toEqual([]);
      expect(await remainsIn(store, folder()), said()).toEqual([]);
    }
    console.log(
      `${story.length} points (${seen.killed} killed, ${seen.ended} had ended)\n${story.join("\n")}`,
    );
    expect(seen.killed).toBeGreaterThan(0);

    await writeRows();
    await backupPostgres(source.setting, "wal", contextAt(ahead));
    const recovered = await source.recover("latest");
    try {
      const [row] = await source.server.query<{ sum: string }>(
        "SELECT count(*) || ' ' || md5(string_agg(md5(note), '' ORDER BY id)) AS sum FROM rows",
      );
      expect(
        await ask(
          recovered,
          "SELECT count(*) || ' ' || md5(string_agg(md5(note), '' ORDER BY id)) FROM rows",
        ),
      ).toBe(row?.sum);
    } finally {
      await recovered.dispose();
    }
  });

  /** The run that comes after the one that was killed. */
  async function next(action: CrashAction, ahead: number): Promise<void> {
    const context = contextAt(ahead);
    if (action === "prune") await prunePostgres(source.setting, context);
    else await backupPostgres(source.setting, action === "full" ? "full" : "wal", context);
  }

  /** A proven backup that is newer than another one. */
  async function prepareToPrune(ahead: number): Promise<void> {
    const { store } = source.taking;
    if ((await listBackupIds(store, "db")).length < 2)
      await backupPostgres(source.setting, "full", contextAt(ahead));
    const backupId = (await listBackups(store, "db")).at(-1)?.id ?? "";
    await recordVerification(store, "db", { backupId, depth: "checksums", at: new Date().toISOString() });
    await sleep(1_100);
  }

  async function timeOf(action: CrashAction, ahead: number): Promise<number> {
    const child: Running = run(childOf(action, ahead));
    await child.begun();
    const began = performance.now();
    expect(await child.ended, child.lines.join("\n")).toBe(0);
    return performance.now() - began;
  }
});

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
