import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { formatLsn, lsn, segmentBefore, segmentStart } from "../../catalog/lsn.ts";
import type { Context } from "../../context.ts";
import { AbortedError, ToolError } from "../../errors.ts";
import { formatDuration } from "../../values.ts";
import type { Goal, Pull } from "../wal/wal-pull.ts";
import type { Connection } from "./connection.ts";
import type { Slot } from "./slot.ts";
import { need } from "./source-facts.ts";

/** A source that is in recovery: it replays what its primary writes, and writes nothing itself. */
export interface Standby {
  readonly sql: Connection;
  /** Whether the runbook names its primary, where a run can end the segment that it waits for. */
  readonly primaryKnown: boolean;
  readonly segmentBytes: number;
  /** How long the standby may bring nothing new of what the run needs. */
  readonly patienceMs?: number;
}

/** The last restart point: a backup of a standby begins there, and its WAL is still there. */
export interface RestartPoint {
  readonly redo: string;
  /** All that was committed before is in the backup; RFC 3339 in UTC, by the primary's clock. */
  readonly time: string;
}

const LOOK_EVERY_MS = 250;
const LINE_EVERY_MS = 5_000;
const PATIENCE_MS = 5 * 60_000;

export async function readRestartPoint(sql: Connection): Promise<RestartPoint> {
  const [row] = await sql.query(
    "reading its restart point",
    `SELECT redo_lsn, to_char(checkpoint_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS time
     FROM pg_control_checkpoint()`,
  );
  return { redo: need(row, "redo_lsn"), time: need(row, "time") };
}

/**
 * Where the WAL of a base backup begins at the earliest. The slot may be further, because its WAL went into another
 * store: then the server is made to keep what lies before it until the replication connection ends.
 */
export async function keepFromRestartPoint(
  sql: Connection,
  replication: Connection,
  slot: Slot,
): Promise<string> {
  const { redo } = await readRestartPoint(sql);
  if (lsn(redo) >= lsn(slot.restartLsn)) return slot.restartLsn;
  const name = `drillbook_${randomBytes(6).toString("hex")}`;
  const doing = "keeping the WAL of its restart point";
  await replication.query(doing, `CREATE_REPLICATION_SLOT "${name}" TEMPORARY PHYSICAL RESERVE_WAL`);
  const [row] = await sql.query(doing, "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = $1", [
    name,
  ]);
  const kept = need(row, "restart_lsn");
  return lsn(kept) < lsn(slot.restartLsn) ? kept : slot.restartLsn;
}

/** A moment by the primary's clock, as near as a standby alone can tell: not before any commit that it has replayed. */
export async function standbyTime(sql: Connection): Promise<string> {
  const [row] = await sql.query(
    "reading its clock",
    `SELECT to_char(greatest(clock_timestamp(), pg_last_xact_replay_timestamp()) AT TIME ZONE 'UTC',
       'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS time`,
  );
  return need(row, "time");
}

interface Progress {
  readonly received: bigint;
  readonly replayed: bigint;
}

async function readProgress(sql: Connection): Promise<Progress> {
  const [row] = await sql.query(
    "reading how far it has come",
    `SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) AS received,
       pg_last_wal_replay_lsn() AS replayed`,
  );
  return { received: lsn(need(row, "received")), replayed: lsn(need(row, "replayed")) };
}

/**
 * Waits until the standby has received, or with `replayed` also replayed, all WAL before `position`. Throws a
 * {@link ToolError} when it brings nothing new for too long.
 */
export async function waitForStandby(
  standby: Standby,
  position: bigint,
  what: keyof Progress,
  context: Pick<Context, "signal" | "log">,
): Promise<void> {
  const { sql, patienceMs = PATIENCE_MS } = standby;
  let best = -1n;
  let since = performance.now();
  let nextLine = since + LINE_EVERY_MS;
  for (;;) {
    if (context.signal.aborted) throw new AbortedError();
    const reached = (await readProgress(sql))[what];
    if (reached >= position) return;
    if (reached > best) {
      best = reached;
      since = performance.now();
    }
    if (performance.now() - since > patienceMs) throw stuck(standby, position, reached, what, patienceMs);
    if (performance.now() >= nextLine) {
      nextLine += LINE_EVERY_MS;
      context.log.info(
        `Waiting until the standby at ${sql.endpoint.label} has ${what} WAL up to ${formatLsn(position)}: it is at ${formatLsn(reached)}`,
      );
    }
    await sleep(LOOK_EVERY_MS, undefined, { signal: context.signal }).catch(() => undefined);
  }
}

function stuck(
  { sql, primaryKnown }: Standby,
  position: bigint,
  reached: bigint,
  what: keyof Progress,
  patienceMs: number,
): ToolError {
  const advice = primaryKnown
    ? "look whether it still follows its primary (pg_stat_wal_receiver) and whether its replay is paused or delayed"
    : "its primary has not filled that segment: name the primary as the component's key primary, or set archive_timeout there, such as 1min";
  return new ToolError(
    `The standby at ${sql.endpoint.label} has ${what} WAL up to ${formatLsn(reached)} and nothing more for ${formatDuration(patienceMs / 1000)}, but the run needs it up to ${formatLsn(position)}: ${advice}.`,
  );
}

/** A pull that does not wait for ever for WAL that the standby does not get. */
export function watchPull(pull: Pull, standby: Standby, context: Context): Pull {
  const ended = new AbortController();
  let failure: { readonly error: unknown } | undefined;
  const done = pull.done.catch((error: unknown) => {
    throw failure === undefined ? error : failure.error;
  });
  // Whoever waits for it sees the failure; until then it must not end the process.
  done.catch(() => undefined).finally(() => ended.abort());

  async function watch({ through }: Goal): Promise<void> {
    const { segmentBytes } = standby;
    const end = segmentStart(segmentBefore(through, segmentBytes) + 1, segmentBytes);
    const signal = AbortSignal.any([ended.signal, context.signal]);
    try {
      await waitForStandby(standby, end, "received", { signal, log: context.log });
    } catch (error) {
      if (signal.aborted) return;
      failure = { error };
      await pull.stop();
    }
  }

  return {
    ...pull,
    finish(goal) {
      pull.finish(goal);
      void watch(goal);
    },
    done,
  };
}
