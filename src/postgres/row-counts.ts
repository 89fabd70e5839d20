import type { Context } from "../context.ts";
import { AbortedError, messageOf } from "../errors.ts";
import type { Connection } from "./connection.ts";
import type { RowCount } from "./details.ts";
import { need, SERVER_TIME } from "./source-facts.ts";

/**
 * Counts the rows of tables exactly, all in one snapshot. `tables` are names as SQL takes them (`orders`,
 * `shop.orders`). A table that cannot be counted is a warning and is recorded as not captured.
 */
export async function captureRowCounts(
  connection: Connection,
  tables: readonly string[],
  context: Context,
): Promise<RowCount[]> {
  const names = [...new Set(tables)];
  if (names.length === 0) return [];
  const doing = "counting rows";
  await connection.query(doing, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY");
  try {
    const [moment] = await connection.query(
      doing,
      `SELECT ${SERVER_TIME} AS time, pg_current_wal_insert_lsn() AS lsn`,
    );
    const counts: RowCount[] = [];
    for (const table of names) {
      const count = await countTable(connection, table);
      if ("notCaptured" in count) {
        context.log.warning(`The rows of "${table}" were not counted: ${count.notCaptured}.`);
        counts.push({ table, notCaptured: count.notCaptured });
        continue;
      }
      counts.push({ table, ...count, capturedAt: need(moment, "time"), lsn: need(moment, "lsn") });
    }
    return counts;
  } finally {
    await connection.query(doing, "ROLLBACK").catch(() => undefined);
  }
}

type Count = { readonly rows: number; readonly relation: string } | { readonly notCaptured: string };

async function countTable(connection: Connection, table: string): Promise<Count> {
  const doing = `counting the rows of ${table}`;
  try {
    await connection.query(doing, "SAVEPOINT table_count");
    const [relation] = await connection.query(
      doing,
      `SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relpersistence AS persistence
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)`,
      [table],
    );
    if (relation === undefined)
      return { notCaptured: `there is no such table in "${connection.endpoint.database}"` };
    if (relation.persistence !== "p") {
      return { notCaptured: "it is unlogged or temporary, and such a table is empty after a recovery" };
    }
    const name = need(relation, "name");
    const [count] = await connection.query(doing, `SELECT count(*) AS rows FROM ${name}`);
    return { rows: Number(need(count, "rows")), relation: name };
  } catch (error) {
    if (error instanceof AbortedError) throw error;
    // Fails in turn, with the right sentence, when it is the connection that is gone.
    await connection.query(doing, "ROLLBACK TO SAVEPOINT table_count");
    return { notCaptured: messageOf(error).replace(/\.$/, "") };
  }
}
