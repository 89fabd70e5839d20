import type { RestorePoint } from "../../catalog/wal.ts";
import type { Context } from "../../context.ts";
import { pointName } from "../marker/names.ts";
import { need, sourceMoment } from "../source/source-facts.ts";
import type { Writer } from "../source/writer.ts";
import type { Pull } from "./wal-pull.ts";

/**
 * Makes a named point behind every commit of this moment and has it flushed, so that the server sends it. The pull
 * holds its segments from here on: tell it the point. `id` makes the name unique. With a marker, its row is written in a
 * commit before the point and in one after it.
 */
export async function makeRestorePoint(
  { sql, writeMarker }: Pick<Writer, "sql" | "writeMarker">,
  pull: Pull,
  id: string,
  context: Context,
): Promise<RestorePoint> {
  const doing = "making a restore point";
  const name = pointName(context.now(), id, writeMarker !== undefined);
  await writeMarker?.(name, "before");
  const moment = await sourceMoment(sql);
  // An id makes this transaction write a commit record, later than `time`: recovery to any time up to `time` has a
  // record to stop at, even when the server is idle.
  await sql.query(doing, "SELECT pg_current_xact_id()");
  pull.hold();
  // A restore point alone is not flushed, but a commit that wrote anything is. `local`, because a role may have
  // switched that off, and a synchronous standby that is down must not keep us.
  const [row] = await sql.query(
    doing,
    "SELECT set_config('synchronous_commit', 'local', true), pg_create_restore_point($1) AS lsn, pg_current_xact_id()",
    [name],
  );
  await writeMarker?.(name, "after");
  return { name, lsn: need(row, "lsn"), ...moment };
}
