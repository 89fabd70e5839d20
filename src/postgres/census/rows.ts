import { AbortedError, messageOf } from "../../errors.ts";
import { type Ask, cell, gently } from "../checks/ask.ts";
import type { TableRows } from "./document.ts";
import { hasNoForeignPart } from "./foreign.ts";

/** A table that may be counted. */
interface Countable {
  /** With its schema, quoted. */
  readonly name: string;
  /** Of a partitioned table: the tables that hold its rows. */
  readonly leaves: readonly string[];
  /** Why it is not counted. */
  readonly refusal: string | undefined;
}

const TABLES = `SELECT format('%I.%I', n.nspname, c.relname),
    CASE WHEN c.relkind = 'p' THEN (
      SELECT string_agg(format('%I.%I', ln.nspname, l.relname), E'\\n')
      FROM pg_partition_tree(c.oid) t JOIN pg_class l ON l.oid = t.relid JOIN pg_namespace ln ON ln.oid = l.relnamespace
      WHERE t.isleaf AND l.relkind <> 'p') END,
    CASE WHEN c.relpersistence <> 'p' THEN 'it is unlogged, and such a table is empty after a recovery'
      WHEN NOT has_schema_privilege(n.oid, 'USAGE')
        THEN format('the role may not read it: GRANT USAGE ON SCHEMA %I TO %I', n.nspname, current_user)
      WHEN NOT has_table_privilege(c.oid, 'SELECT')
        THEN format('the role may not read it: GRANT SELECT ON %I.%I TO %I', n.nspname, c.relname, current_user)
      WHEN NOT (${hasNoForeignPart("c.oid")}) THEN 'it has foreign partitions' END
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
    AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
    AND ($1::text IS NULL OR format('%I.%I', n.nspname, c.relname) = ANY (string_to_array($1, E'\\n')))
  ORDER BY c.relpages DESC, 1`;

/**
 * Counts the rows of tables exactly, over one or more sessions that see the same snapshot. `only` are full names; all
 * tables of the database without it. Each count gives its lock back at once, so that the snapshot blocks no DDL.
 */
export async function countRows(
  sessions: readonly Ask[],
  only: readonly string[] | undefined,
  onTable: () => void,
): Promise<TableRows[]> {
  const [first] = sessions;
  if (first === undefined) return [];
  const tables = await listTables(first, only);
  const counted = new Map<string, TableRows>();
  const plain = tables.filter((table) => table.leaves.length === 0 && table.refusal === undefined);
  const queue = [...plain];
  const work = async (ask: Ask) => {
    for (let table = queue.shift(); table !== undefined; table = queue.shift()) {
      counted.set(table.name, await countTable(ask, table.name));
      onTable();
    }
  };
  const ends = await Promise.allSettled(sessions.map(work));
  for (const end of ends) if (end.status === "rejected") throw end.reason;
  for (const { name, leaves, refusal } of tables) {
    if (counted.has(name)) continue;
    if (refusal !== undefined) {
      counted.set(name, { table: name, notCaptured: refusal });
      continue;
    }
    counted.set(name, sumOf(name, leaves, counted) ?? (await countTable(first, name)));
    onTable();
  }
  return [...counted.values()].sort((a, b) => (a.table < b.table ? -1 : 1));
}

async function listTables(ask: Ask, only: readonly string[] | undefined): Promise<Countable[]> {
  const rows = await ask(TABLES, [only === undefined ? null : only.join("\n")]);
  return rows.map((row) => ({
    name: cell(row, 0),
    leaves: row[1]?.split("\n") ?? [],
    refusal: row[2] ?? undefined,
  }));
}

/** The rows of a partitioned table, if all that holds them was counted. */
function sumOf(
  table: string,
  leaves: readonly string[],
  counted: ReadonlyMap<string, TableRows>,
): TableRows | undefined {
  let rows = 0;
  for (const leaf of leaves) {
    const one = counted.get(leaf);
    if (one === undefined || "notCaptured" in one) return undefined;
    rows += one.rows;
  }
  return { table, rows };
}

async function countTable(ask: Ask, table: string): Promise<TableRows> {
  try {
    const [row] = await gently(ask, () => ask(`SELECT count(*) FROM ${table}`));
    return { table, rows: Number(cell(row, 0)) };
  } catch (error) {
    if (error instanceof AbortedError) throw error;
    return { table, notCaptured: messageOf(error).replace(/\.$/, "") };
  }
}
