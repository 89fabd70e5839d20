import { lsn, segmentAt, segmentStart } from "../../catalog/lsn.ts";
import type { RestorePoint } from "../../catalog/wal.ts";
import type { Context } from "../../context.ts";
import type { Connection } from "../source/connection.ts";
import type { Abilities } from "../source/roles.ts";
import { need } from "../source/source-facts.ts";
import type { Writer } from "../source/writer.ts";
import { makeRestorePoint } from "./restore-point.ts";
import type { Pull } from "./wal-pull.ts";

/**
 * Ends a run's WAL in a named point and tells the pull to fetch everything through it; the point. `id` makes its name
 * unique. A role that may not do so gets no point: the pull then ends with the last segment that is complete, but not
 * before `atLeast`.
 */
export async function endRun(
  writer: Writer,
  pull: Pull,
  options: { readonly id: string; readonly segmentBytes: number; readonly atLeast: bigint },
  context: Context,
): Promise<RestorePoint | undefined> {
  const { sql, abilities } = writer;
  const doing = "marking the end of the run";
  if (!abilities.createRestorePoint || !abilities.switchWal) {
    const complete = await lastCompleteWal(sql, abilities, options.segmentBytes);
    const suffices = complete >= options.atLeast;
    pull.finish({ through: suffices ? complete : options.atLeast, point: undefined });
    return undefined;
  }
  const point = await makeRestorePoint(writer, pull, options.id, context);
  await sql.query(doing, "SELECT pg_switch_wal()");
  pull.finish({ through: lsn(point.lsn), point });
  return point;
}

async function lastCompleteWal(sql: Connection, abilities: Abilities, segmentBytes: number): Promise<bigint> {
  const doing = "finding the end of the WAL";
  if (abilities.switchWal) {
    const [row] = await sql.query(doing, "SELECT pg_switch_wal() AS lsn");
    return lsn(need(row, "lsn"));
  }
  const [row] = await sql.query(
    doing,
    `SELECT CASE WHEN pg_is_in_recovery() THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
       ELSE pg_current_wal_flush_lsn() END AS lsn`,
  );
  return segmentStart(segmentAt(lsn(need(row, "lsn")), segmentBytes), segmentBytes);
}
