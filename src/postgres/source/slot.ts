import type { Context } from "../../context.ts";
import { ToolError, UserError } from "../../errors.ts";
import { statusUpdate } from "../wal/wal-messages.ts";
import type { Connection } from "./connection.ts";

/** A physical replication slot that exists and keeps WAL. */
export interface Slot {
  readonly name: string;
  /** The server keeps all WAL from here on. */
  readonly restartLsn: string;
}

interface SlotState {
  readonly type: string;
  readonly activePid: string | null;
  readonly restartLsn: string | null;
  readonly walStatus: string | null;
}

async function readSlot(sql: Connection, name: string): Promise<SlotState | undefined> {
  const [row] = await sql.query(
    "reading the replication slot",
    "SELECT slot_type, active_pid, restart_lsn, wal_status FROM pg_replication_slots WHERE slot_name = $1",
    [name],
  );
  if (row === undefined) return undefined;
  return {
    type: row.slot_type ?? "",
    activePid: row.active_pid ?? null,
    restartLsn: row.restart_lsn ?? null,
    walStatus: row.wal_status ?? null,
  };
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
  if (state?.walStatus === "lost") {
    if (kind === "wal") throw slotLost(name, label);
    context.log.warning(
      `The replication slot "${name}" at ${label} lost its WAL because it was not read for too long: it is made anew, and this backup begins a new chain. Raise max_slot_wal_keep_size or read the slot more often.`,
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
  } else if (state.restartLsn === null) {
    await reserve(replication, name);
    state = await readSlot(sql, name);
  }
  if (state?.restartLsn == null) {
    throw new ToolError(
      `The replication slot "${name}" at ${label} keeps no WAL: drop it, and it is created anew.`,
    );
  }
  return { name, restartLsn: state.restartLsn };
}

/** The slot exists, but the server removed WAL that it should have kept. */
function slotLost(name: string, label: string): ToolError {
  return new ToolError(
    `The replication slot "${name}" at ${label} lost its WAL because it was not read for too long (max_slot_wal_keep_size): take a full backup, which makes the slot anew and begins a new chain.`,
  );
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
