import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { expect, test } from "vitest";
import { formatLsn, lsn } from "../../../../src/catalog/lsn.ts";
import { UserError } from "../../../../src/errors.ts";
import { formatMicros, parseTime } from "../../../../src/targets.ts";
import { NIGHTLY } from "../../../support/nightly.ts";
import type { TestPostgres } from "../../../support/postgres.ts";
import { openSource, type Source } from "../recovering.ts";
import { detailsOf } from "../taking.ts";

/** All of them in the nightly run; enough for every kind to come up in the others. */
const TARGETS = NIGHTLY ? 100 : 12;
/** A recovery takes a second or two. */
const TIME = { timeout: 60_000 + TARGETS * 10_000 };
const WRITERS = 4;

/**
 * The truth is the source's own WAL, as pg_walinspect shows it: the commit and abort records in their order. A target is a
 * cut between two of them; what is recovered must be exactly the transactions before the cut.
 */
test.each([15, 18])(
  "PostgreSQL %i: random targets of all kinds are exact, or refused",
  TIME,
  async (major) => {
    const settings = { wal_keep_size: "2GB", synchronous_commit: "off" };
    await using source = await openSource({ postgres: { major, settings } });
    const { server } = source;
    await server.query("CREATE EXTENSION pg_walinspect");
    await server.query("CREATE TABLE events (id bigserial, xid text DEFAULT pg_current_xact_id()::text)");
    const writers = startWriters(server);
    let truth: Truth;
    try {
      await sleep(300);
      truth = await writeHistory(source, writers);
    } finally {
      await writers.stop();
    }
    const seen = new Map<string, number>();
    for (let done = 0; done < TARGETS; done += 1) {
      const { target, kind, cut, backupId } = draw(truth, done);
      seen.set(kind, (seen.get(kind) ?? 0) + 1);
      if (cut === "refused") {
        await expect(source.recover(target), target).rejects.toBeInstanceOf(UserError);
        continue;
      }
      const recovered = await source.recover(target);
      try {
        const left = new Set(truth.records.slice(cut).map((record) => record.xid));
        const expected = truth.rows.filter((row) => !left.has(row.xid)).map((row) => row.id);
        const client = new pg.Client({ connectionString: recovered.access.url ?? "" });
        await client.connect();
        const { rows } = await client.query<{ id: string }>("SELECT id::text FROM events ORDER BY events.id");
        await client.end();
        expect({ target, ids: rows.map((row) => row.id) }).toEqual({ target, ids: expected });
        expect({ target, backupId: recovered.backupId }).toEqual({ target, backupId });
        const { lastCommitBefore } = recovered.reached;
        // PostgreSQL does not count the end of a transaction that is the very record at an LSN.
        const times = truth.records.slice(0, cut).slice(kind === "lsn" ? -2 : -1);
        if (lastCommitBefore !== null) {
          expect(times.map(({ micros }) => micros)).toContain(parseTime(lastCommitBefore));
        }
      } finally {
        await recovered.dispose();
      }
    }
    for (const kind of KINDS) expect({ kind, count: seen.get(kind) ?? 0 }).not.toEqual({ kind, count: 0 });
  },
);

const KINDS = [
  "time",
  "time?exclusive",
  "lsn",
  "lsn?exclusive",
  "xid",
  "xid?exclusive",
  "name",
  "latest",
  "immediate",
  "too early",
  "too late",
  "unknown",
] as const;
type Kind = (typeof KINDS)[number];

interface TransactionRecord {
  readonly start: bigint;
  readonly xid: string;
  readonly commit: boolean;
  readonly micros: bigint;
}

interface Truth {
  /** Commits and aborts in the order of the WAL, from the first backup's beginning. */
  readonly records: readonly TransactionRecord[];
  /** Where each record of any kind begins. */
  readonly starts: readonly bigint[];
  readonly rows: readonly { readonly id: string; readonly xid: string }[];
  readonly points: readonly { readonly name: string; readonly end: bigint }[];
  readonly backups: readonly {
    readonly id: string;
    readonly start: bigint;
    readonly stop: bigint;
    readonly stopMicros: bigint;
    readonly snapshot: string;
  }[];
  /** The newest restore point of the archive's own. */
  readonly end: { readonly lsn: bigint; readonly micros: bigint };
}

/** Two backups with WAL runs and named points between and behind them, while the writers go on. */
async function writeHistory(source: Source, writers: Writers): Promise<Truth> {
  const { server } = source;
  const points: { name: string; end: bigint }[] = [];
  const backups: Truth["backups"][number][] = [];
  async function back(): Promise<void> {
    const manifest = await source.backup();
    const details = detailsOf(manifest);
    backups.push({
      id: manifest?.id ?? "",
      start: lsn(details.startLsn),
      stop: lsn(details.stopLsn),
      stopMicros: parseTime(details.stopTime) ?? 0n,
      snapshot: details.stopSnapshot ?? "",
    });
  }
  async function markSome(): Promise<void> {
    for (let round = 0; round < 4; round += 1) {
      await sleep(150);
      const name = `before-migration-${points.length}`;
      const [row] = await server.query<{ end: string }>("SELECT pg_create_restore_point($1)::text AS end", [
        name,
      ]);
      points.push({ name, end: lsn(row?.end ?? "") });
    }
  }
  await back();
  await markSome();
  await source.backup("wal");
  await markSome();
  await back();
  await markSome();
  await writers.stop();
  await source.backup("wal");
  const from = formatLsn(backups[0]?.start ?? 0n);
  const records = await transactionRecords(server, from);
  const all = await server.query<{ start: string }>(
    `SELECT start_lsn::text AS start FROM pg_get_wal_records_info('${from}', pg_current_wal_flush_lsn()) ORDER BY start_lsn`,
  );
  const starts = all.map(({ start }) => lsn(start));
  const latest = await source.recover("latest");
  await latest.dispose();
  const end = { lsn: lsn(latest.reached.lsn), micros: parseTime(latest.reached.time ?? "") ?? 0n };
  const rows = await server.query<{ id: string; xid: string }>(
    "SELECT id::text, xid FROM events ORDER BY events.id",
  );
  expect(records.length).toBeGreaterThan(500);
  return { records, starts, rows, points, backups, end };
}

interface Drawn {
  readonly target: string;
  readonly kind: Kind;
  /** The number of records that are replayed. */
  readonly cut: number | "refused";
  readonly backupId: string | undefined;
}

/** A random target, and what PostgreSQL's documentation says of it; the kinds come in turn. */
function draw(truth: Truth, round: number): Drawn {
  const kind = KINDS[round % KINDS.length] ?? "latest";
  const { records, points, end } = truth;
  const [oldest, newest] = [truth.backups[0], truth.backups.at(-1)];
  if (oldest === undefined || newest === undefined) throw new Error("There is no backup.");
  const refused = (target: string): Drawn => ({ target, kind, cut: "refused", backupId: undefined });
  const newestWith = (isEarlyEnough: (backup: Truth["backups"][number]) => boolean) =>
    truth.backups.findLast(isEarlyEnough)?.id;
  /** The index of the first record that is not replayed. */
  const cutAt = (isBehind: (record: TransactionRecord) => boolean) => {
    const index = records.findIndex(isBehind);
    return index === -1 ? records.length : index;
  };
  const exclusive = kind.endsWith("?exclusive");
  const suffix = exclusive ? "?exclusive" : "";
  const own = records.filter(
    ({ start, micros }) => start > oldest.stop && micros > oldest.stopMicros && start < end.lsn - 1_000n,
  );
  const record = own[Math.floor(Math.random() * own.length)] ?? expect.fail("There is no record.");

  switch (kind) {
    case "time":
    case "time?exclusive": {
      // Half of the targets are the very microsecond of a record.
      const micros = record.micros + BigInt(Math.random() < 0.5 ? 0 : Math.ceil(Math.random() * 500));
      if (micros > end.micros) return draw(truth, round);
      const isBehind = (one: TransactionRecord) => (exclusive ? one.micros >= micros : one.micros > micros);
      const backup = truth.backups.findLast((one) => one.stopMicros < micros);
      // Records inside of the backup's own window are replayed whatever their time.
      const cut = cutAt((one) => one.start >= (backup?.stop ?? 0n) && isBehind(one));
      return { target: `${formatMicros(micros)}${suffix}`, kind, cut, backupId: backup?.id };
    }
    case "lsn":
    case "lsn?exclusive": {
      const position = record.start + BigInt(Math.floor(Math.random() * 3) - 1) * 8n;
      const backupId = newestWith(({ stop }) => stop <= position);
      const at = cutAt(({ start }) => start >= position);
      // With the first record of any kind that begins there or later.
      const isOurs = records[at]?.start === truth.starts.find((start) => start >= position);
      return {
        target: `lsn:${formatLsn(position)}${suffix}`,
        kind,
        cut: at + (isOurs && !exclusive ? 1 : 0),
        backupId,
      };
    }
    case "xid":
    case "xid?exclusive": {
      const index = records.indexOf(record);
      const hadNotEnded = (snapshot: string) => {
        const [, xmax = "0", running = ""] = snapshot.split(":");
        return BigInt(record.xid) >= BigInt(xmax) || running.split(",").includes(record.xid);
      };
      const backupId = newestWith(({ snapshot }) => hadNotEnded(snapshot));
      if (backupId === undefined) return draw(truth, round);
      return { target: `xid:${record.xid}${suffix}`, kind, cut: index + (exclusive ? 0 : 1), backupId };
    }
    case "name": {
      const point = points[Math.floor(Math.random() * points.length)] ?? expect.fail("There is no point.");
      const backupId = newestWith(({ stop }) => stop < point.end);
      return { target: `name:${point.name}`, kind, cut: cutAt(({ start }) => start >= point.end), backupId };
    }
    case "latest":
      return { target: kind, kind, cut: cutAt(({ start }) => start >= end.lsn), backupId: newest.id };
    case "immediate":
      return { target: kind, kind, cut: cutAt(({ start }) => start >= newest.stop), backupId: newest.id };
    case "too early":
      return refused(
        pick([
          formatMicros(oldest.stopMicros - BigInt(Math.floor(Math.random() * 1e6))),
          `lsn:${formatLsn(oldest.stop - 8n * BigInt(1 + Math.floor(Math.random() * 9)))}`,
          `xid:${BigInt(oldest.snapshot.split(":")[0] ?? "") - 1n}`,
        ]),
      );
    case "too late":
      return refused(
        pick([
          formatMicros(end.micros + 1n + BigInt(Math.floor(Math.random() * 1e6))),
          `lsn:${formatLsn(end.lsn + 8n * BigInt(Math.floor(Math.random() * 9)))}`,
          `xid:${BigInt(records.at(-1)?.xid ?? 0) + 1_000n}`,
        ]),
      );
    case "unknown":
      return refused(
        pick(["name:after-migration", "latest?timeline=7", "name:before-migration-0?timeline=2"]),
      );
  }
}

function pick(targets: readonly string[]): string {
  return targets[Math.floor(Math.random() * targets.length)] ?? "";
}

interface Writers {
  stop(): Promise<void>;
}

/** Each writer commits a few rows at a time, and rolls every tenth transaction back. */
function startWriters(server: TestPostgres): Writers {
  let stopped = false;
  const work = Array.from({ length: WRITERS }, async () => {
    const client = await server.client();
    for (let round = 0; !stopped; round += 1) {
      await client.query("BEGIN");
      await client.query(
        "INSERT INTO events (id) SELECT nextval('events_id_seq') FROM generate_series(1, 1 + $1 % 3)",
        [round],
      );
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

async function transactionRecords(server: TestPostgres, startLsn: string): Promise<TransactionRecord[]> {
  const rows = await server.query<{ start: string; xid: string; type: string; description: string }>(
    `SELECT start_lsn::text AS start, xid::text, record_type AS type, description
     FROM pg_get_wal_records_info('${startLsn}', pg_current_wal_flush_lsn())
     WHERE resource_manager = 'Transaction' AND record_type ~ 'COMMIT|ABORT' ORDER BY start_lsn`,
  );
  return rows.map((row) => {
    const text = /\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?/.exec(row.description)?.[0] ?? "";
    const micros = parseTime(`${text}+00`) ?? 0n;
    return { start: lsn(row.start), xid: row.xid, commit: row.type.includes("COMMIT"), micros };
  });
}
