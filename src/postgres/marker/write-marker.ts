import { UserError } from "../../errors.ts";
import type { Connection } from "../source/connection.ts";
import { quoteName } from "../source/errors.ts";
import { MARKER_SQL, MARKER_TABLE, type MarkerSide } from "./names.ts";

/** Writes the marker's row on one side of a restore point, in a transaction of its own. */
export type WriteMarker = (point: string, side: MarkerSide) => Promise<void>;

const DOING = "writing the marker";

/**
 * Finds the marker's table or makes it. Throws a {@link UserError} with the SQL to run when the role may neither make nor
 * write it.
 */
export async function openMarker(sql: Connection): Promise<WriteMarker> {
  const [state] = await sql.query(
    DOING,
    `SELECT c.oid IS NOT NULL AS present,
       coalesce(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'UPDATE'), false) AS writable,
       has_database_privilege(current_database(), 'CREATE') AS may_create
     FROM (SELECT 1) AS one
       LEFT JOIN pg_namespace n ON n.nspname = 'drillbook'
       LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'marker'`,
  );
  if (state?.present !== "t") {
    if (state?.may_create !== "t") throw notPossible(sql, MARKER_SQL);
    // Together: the table is never seen without its row.
    await sql.query(DOING, `DO $$ BEGIN ${MARKER_SQL.map((line) => `${line};`).join(" ")} END $$`);
  } else if (state.writable !== "t") {
    throw notPossible(sql, []);
  }
  return async (point, side) => {
    await sql.query(
      DOING,
      `UPDATE ${MARKER_TABLE} SET point = $1, side = $2, written_at = clock_timestamp() WHERE id = 1`,
      [point, side],
    );
  };
}

function notPossible({ endpoint }: Connection, lines: readonly string[]): UserError {
  const role = quoteName(endpoint.user);
  const grants = [
    `GRANT USAGE ON SCHEMA drillbook TO ${role}`,
    `GRANT SELECT, UPDATE ON ${MARKER_TABLE} TO ${role}`,
  ];
  return new UserError(
    `The role "${endpoint.user}" may not write ${MARKER_TABLE} in the database "${endpoint.database}", which marker: true asks for. Run there as its owner: ${[...lines, ...grants].join("; ")};`,
  );
}
