import type { SlotReport } from "../../component.ts";
import type { Connection } from "./connection.ts";
import { need } from "./source-facts.ts";

/** A replication slot as `pg_replication_slots` shows it, with the settings that decide about its WAL. */
export interface SlotState {
  readonly report: SlotReport;
  readonly type: string;
  readonly activePid: string | null;
  /** Why the server gave it up, from PostgreSQL 17 on: `wal_removed`, `idle_timeout`, … */
  readonly invalidationReason: string | null;
}

/** Reads the slot's state; undefined when there is none of that name. */
export async function readSlot(sql: Connection, name: string): Promise<SlotState | undefined> {
  const [row] = await sql.query(
    "reading the replication slot",
    `SELECT slot_type, active_pid, restart_lsn, wal_status, safe_wal_size,
       pg_wal_lsn_diff(
         CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
         restart_lsn
       ) AS retained,
       (SELECT setting FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS keep_mib,
       to_jsonb(slot) ->> 'invalidation_reason' AS reason
     FROM pg_replication_slots slot WHERE slot_name = $1`,
    [name],
  );
  if (row === undefined) return undefined;
  const keep = Number(need(row, "keep_mib"));
  return {
    report: {
      name,
      walStatus: row.wal_status ?? null,
      restartLsn: row.restart_lsn ?? null,
      retainedBytes: row.retained == null ? null : Math.max(0, Number(row.retained)),
      safeBytes: row.safe_wal_size == null ? null : Number(row.safe_wal_size),
      maxKeepBytes: keep < 0 ? null : keep * 2 ** 20,
    },
    type: row.slot_type ?? "",
    activePid: row.active_pid ?? null,
    invalidationReason: row.reason ?? null,
  };
}
