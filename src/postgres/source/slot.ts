import { setTimeout as sleep } from "node:timers/promises";
import type { SlotReport } from "../../component.ts";
import type { Context } from "../../context.ts";
import { ToolError, UserError } from "../../errors.ts";
import { formatBytes } from "../../values.ts";
import { statusUpdate } from "../wal/wal-messages.ts";
import type { Connection } from "./connection.ts";
import { readSlot, type SlotState } from "./slot-state.ts";

/** A physical replication slot that exists and keeps WAL. */
export interface Slot {
  readonly name: string;
  /** As the run found it. */
  readonly report: SlotReport;
  /** The server keeps all WAL from here on. */
  readonly restartLsn: string;
}

/**
 * Finds or creates the slot. A slot that lost its WAL is made anew for a full backup, which begins a new chain, and
 * is an error for `kind: wal`. Throws an error of one sentence when the slot is another's or in use.
 */
export async function ensureSlot(
  sql: Connection,
  replication: Connection,
  name: string,
  kind: "full" | "wal",
  context: Context,
): Promise<Slot> {
  const { label } = sql.endpoint;
  let state = await readSlot(sql, name);
  if (state !== undefined && state.type !== "physical") {
    throw new UserError(
      `The replication slot "${name}" at ${label} is a ${state.type} one: name another slot in wal.slot, it is created when absent.`,
    );
  }
  if (state?.activePid != null) {
    throw new ToolError(
      `The replication slot "${name}" at ${label} is in use by the server process ${state.activePid}: wait for that run to end, or end the process with SELECT pg_terminate_backend(${state.activePid}).`,
    );
  }
  if (state?.report.walStatus === "lost") {
    if (kind === "wal") throw slotLost(state, label);
    context.log.warning(
      `The replication slot "${name}" at ${label} lost its WAL because it was not read for too long: it is made anew, and this backup begins a new chain. Raise ${limitOf(state)} or read the slot more often.`,
    );
    await replication.query(
      "dropping the lost replication slot",
      `DROP_REPLICATION_SLOT ${quoteIdentifier(name)}`,
    );
    state = undefined;
  }
  if (state === undefined) {
    await replication.query(
      "creating the replication slot",
      `CREATE_REPLICATION_SLOT ${quoteIdentifier(name)} PHYSICAL RESERVE_WAL`,
    );
    context.log.info(
      `Created the replication slot "${name}" at ${label}: from now on the server keeps its WAL for it.`,
    );
    state = await readSlot(sql, name);
  } else if (state.report.restartLsn === null) {
    await reserve(replication, name);
    state = await readSlot(sql, name);
  }
  if (state?.report.restartLsn == null) {
    throw new ToolError(
      `The replication slot "${name}" at ${label} keeps no WAL: drop it, and it is created anew.`,
    );
  }
  return { name, report: state.report, restartLsn: state.report.restartLsn };
}

/** The slot exists, but the server removed WAL that it should have kept. */
function slotLost(state: SlotState, label: string): ToolError {
  return new ToolError(
    `The replication slot "${state.report.name}" at ${label} lost its WAL because it was not read for too long (${limitOf(state)}): take a full backup, which makes the slot anew and begins a new chain.`,
  );
}

/** The setting that decides when a slot is given up. */
function limitOf({ invalidationReason, report }: SlotState): string {
  if (invalidationReason === "idle_timeout") return "idle_replication_slot_timeout";
  return report.maxKeepBytes === null
    ? "max_slot_wal_keep_size"
    : `max_slot_wal_keep_size, ${formatBytes(report.maxKeepBytes)}`;
}

/** The server ends the connection first, and gives the slot up a moment later. */
const LOSS_LOOKS = 15;
const LOSS_LOOK_MS = 200;
/** A server that hangs, or is busy with another statement of ours, is not waited for. */
const LOSS_ANSWER_MS = 5_000;

/**
 * When the server gave the slot up while it was being read, the error that says so; undefined when it did not, or does
 * not answer.
 */
export async function explainLoss(
  sql: Connection,
  name: string,
  signal: AbortSignal,
): Promise<ToolError | undefined> {
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  try {
    const patience = sleep(LOSS_ANSWER_MS, undefined, { signal: either }).catch(() => undefined);
    return await Promise.race([lookForLoss(sql, name, either), patience]);
  } finally {
    over.abort();
  }
}

async function lookForLoss(
  sql: Connection,
  name: string,
  signal: AbortSignal,
): Promise<ToolError | undefined> {
  for (let look = 0; look < LOSS_LOOKS && !signal.aborted; look += 1) {
    const state = await readSlot(sql, name).catch(() => undefined);
    if (state?.report.walStatus === "lost") {
      return new ToolError(
        `The replication slot "${name}" at ${sql.endpoint.label} lost its WAL while this run was reading it, because the server wrote more than it keeps for a slot (${limitOf(state)}): set max_slot_wal_keep_size to several times the WAL that is written during a backup, then take a full backup, which makes the slot anew.`,
      );
    }
    if (state?.report.walStatus !== "unreserved") return undefined;
    await sleep(LOSS_LOOK_MS, undefined, { signal }).catch(() => undefined);
  }
  return undefined;
}

/** A slot that was created without RESERVE_WAL starts to keep WAL with the first position that is confirmed. */
async function reserve(replication: Connection, name: string): Promise<void> {
  const doing = "reserving WAL for the replication slot";
  const [system] = await replication.query(doing, "IDENTIFY_SYSTEM");
  const position = system?.xlogpos ?? "0/0";
  const session = replication.copy(
    doing,
    `START_REPLICATION SLOT ${quoteIdentifier(name)} PHYSICAL ${position}`,
  );
  session.send(statusUpdate(position));
  session.end();
  while ((await session.next()) !== undefined);
}

/** A name as the replication commands and SQL take it. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
