import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { expect, test } from "vitest";
import { formatMicros, parseTime } from "../../../../src/targets.ts";
import { NIGHTLY } from "../../../support/nightly.ts";
import type { TestPostgres } from "../../../support/postgres.ts";
import { openSource } from "../recovering.ts";
import { detailsOf } from "../taking.ts";

const TARGETS = NIGHTLY ? 20 : 4;
/** A recovery takes a second or two. */
const TIME = { timeout: 60_000 + TARGETS * 10_000 };
const WRITERS = 6;

/**
 * The truth is the source's own memory of when each transaction committed (track_commit_timestamp). Replay goes in the
 * order of the WAL and stops at the first record later than the target; two transactions can write their records in
 * the other order than they took their times. A target between two such times has no exact answer in PostgreSQL
 * itself, so those are left out, by what pg_walinspect shows of the WAL.
 */
/** How long a writer may be held up between taking its commit's time and writing it. */
const OVERLAP_MICROS = 100_000n;

test.each([15, 18])(
  "PostgreSQL %i: random targets under concurrent writers are exact",
  TIME,
  async (major) => {
    const settings = { track_commit_timestamp: true, wal_keep_size: "2GB", synchronous_commit: "off" };
    await using source = await openSource({ postgres: { major, settings } });
    const { server } = source;
    await server.query("CREATE EXTENSION pg_walinspect");
    await server.query("CREATE TABLE events (id bigserial, writer int)");
    const writers = startWriters(server);
    try {
      const manifest = await source.backup();
      await sleep(2_000);
      await source.backup("wal");
      await sleep(1_000);
      await writers.stop();
      await source.backup("wal");
      const details = detailsOf(manifest);
      const { micros: from } = time(details.stopTime);
      const to = time(await source.clock()).micros - 500_000n;
      const records = await transactionRecords(server, details.startLsn);
      expect(records.length).toBeGreaterThan(1_000);
      const truth = await commitTimes(server);

      for (let done = 0; done < TARGETS; ) {
        const target = from + BigInt(Math.ceil(Math.random() * Number(to - from)));
        if (isSplit(records, target)) continue;
        done += 1;
        const recovered = await source.recover(formatMicros(target));
        try {
          const client = new pg.Client({ connectionString: recovered.access.url ?? "" });
          await client.connect();
          const { rows } = await client.query<{ id: string }>(
            "SELECT id::text FROM events ORDER BY events.id",
          );
          await client.end();
          const expected = truth.filter((row) => row.micros <= target);
          expect({ target, ids: rows.map((row) => row.id) }).toEqual({
            target,
            ids: expected.map((row) => row.id),
          });
          const { lastCommitBefore, firstCommitAfter } = recovered.reached;
          const after = truth.map((row) => row.micros).filter((micros) => micros > target);
          expect(time(lastCommitBefore).micros).toBeLessThanOrEqual(target);
          // The last in the order of the WAL: writers take their time a little before they write, so it need not be the newest.
          const newest = newestOf(expected.map((row) => row.micros));
          expect(time(lastCommitBefore).micros).toBeGreaterThan(newest - OVERLAP_MICROS);
          if (firstCommitAfter !== null) {
            expect(time(firstCommitAfter).micros).toBeGreaterThan(target);
            expect(after.length === 0 || records.includes(time(firstCommitAfter).micros)).toBe(true);
          }
        } finally {
          await recovered.dispose();
        }
      }
    } finally {
      await writers.stop();
    }
  },
);

function time(text: string | null): { micros: bigint } {
  return { micros: parseTime(text ?? "") ?? -1n };
}

function newestOf(values: readonly bigint[]): bigint {
  let newest = 0n;
  for (const value of values) if (value > newest) newest = value;
  return newest;
}

/** Each writer commits one row at a time, some in larger transactions, and rolls every tenth back. */
function startWriters(server: TestPostgres): { stop(): Promise<void> } {
  let stopped = false;
  const work = Array.from({ length: WRITERS }, async (_, writer) => {
    const client = await server.client();
    for (let round = 0; !stopped; round += 1) {
      await client.query("BEGIN");
      await client.query("INSERT INTO events (writer) SELECT $1 FROM generate_series(1, 1 + $2 % 3)", [
        writer,
        round,
      ]);
      await client.query(round % 10 === 9 ? "ROLLBACK" : "COMMIT");
    }
    await client.end();
  });
  return {
    async stop() {
      stopped = true;
      await Promise.all(work);
    },
  };
}

async function commitTimes(server: TestPostgres): Promise<{ id: string; micros: bigint }[]> {
  const rows = await server.query<{ id: string; micros: string }>(
    "SELECT id::text, (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint::text AS micros FROM events ORDER BY events.id",
  );
  return rows.map((row) => ({ id: row.id, micros: BigInt(row.micros) }));
}

/** The times in commit and abort records, in the order of the WAL. */
async function transactionRecords(server: TestPostgres, startLsn: string): Promise<bigint[]> {
  const rows = await server.query<{ description: string }>(
    `SELECT description FROM pg_get_wal_records_info('${startLsn}', pg_current_wal_flush_lsn())
     WHERE resource_manager = 'Transaction' AND record_type ~ 'COMMIT|ABORT' ORDER BY start_lsn`,
  );
  return rows.map((row) => {
    const text = /\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?/.exec(row.description)?.[0] ?? "";
    return time(`${text}+00`).micros;
  });
}

/** Whether a record up to the target lies behind one that is later than it. */
function isSplit(records: readonly bigint[], target: bigint): boolean {
  const firstLater = records.findIndex((micros) => micros > target);
  return firstLater !== -1 && records.slice(firstLater).some((micros) => micros <= target);
}
