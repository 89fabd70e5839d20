import { AbortedError } from "../../errors.ts";
import { type Ask, cell, gently } from "../checks/ask.ts";
import type { SequenceState } from "./document.ts";
import { hasNoForeignPart } from "./foreign.ts";

/** A sequence that gives a column its values: it owns the column, or the column's default calls it. */
interface Feeding {
  readonly sequence: string;
  readonly table: string;
  readonly column: string;
  readonly increment: string;
}

const FEEDING = `
  WITH used AS (
    SELECT d.objid AS sequence, d.refobjid AS relation, d.refobjsubid AS attribute
    FROM pg_depend d
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
      AND d.deptype IN ('a', 'i')
    UNION
    SELECT d.refobjid, a.adrelid, a.adnum
    FROM pg_depend d JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid
    WHERE d.refclassid = 'pg_class'::regclass)
  SELECT format('%I.%I', sn.nspname, s.relname), format('%I.%I', tn.nspname, t.relname), quote_ident(a.attname),
    p.seqincrement
  FROM used u
    JOIN pg_class s ON s.oid = u.sequence AND s.relkind = 'S' AND s.relpersistence <> 't'
    JOIN pg_sequence p ON p.seqrelid = s.oid
    JOIN pg_namespace sn ON sn.oid = s.relnamespace
    JOIN pg_class t ON t.oid = u.relation AND t.relkind IN ('r', 'p') AND t.relpersistence = 'p'
    JOIN pg_namespace tn ON tn.oid = t.relnamespace
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = u.attribute
  WHERE NOT p.seqcycle AND ${hasNoForeignPart("t.oid")} AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype)
  ORDER BY 1, 2, 3`;

/** The sequences of this database that feed a column. One that cycles promises nothing and is left out. */
export async function feedingSequences(ask: Ask): Promise<Feeding[]> {
  return (await ask(FEEDING)).map((row) => ({
    sequence: cell(row, 0),
    table: cell(row, 1),
    column: cell(row, 2),
    increment: cell(row, 3),
  }));
}

/**
 * Whether the next value of the sequence is in the column or passed by it. The server compares, so that no value of
 * the table leaves it.
 */
export async function isBehind(ask: Ask, { sequence, table, column, increment }: Feeding): Promise<boolean> {
  const [extreme, reached] = increment.startsWith("-") ? ["min", "<="] : ["max", ">="];
  const next = `s.last_value::numeric + CASE WHEN s.is_called THEN ${increment} ELSE 0 END`;
  const [row] = await ask(
    `SELECT coalesce(t.extreme ${reached} ${next}, false)
     FROM (SELECT ${extreme}(${column}) AS extreme FROM ${table}) t, ${sequence} s`,
  );
  return row?.[0] === "t";
}

const STATES = `SELECT format('%I.%I', n.nspname, c.relname), x.readable,
    CASE WHEN x.readable THEN pg_sequence_last_value(c.oid) END
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
    LATERAL (SELECT has_schema_privilege(n.oid, 'USAGE') AND has_sequence_privilege(c.oid, 'SELECT, USAGE')) x (readable)
  WHERE c.relkind = 'S' AND c.relpersistence = 'p' ORDER BY 1`;

/** The state of all sequences, within a transaction; whether they are behind only when `compare`, which may read whole tables. */
export async function readSequences(ask: Ask, compare: boolean): Promise<SequenceState[]> {
  const states = await ask(STATES);
  const behind = compare ? await findBehind(ask) : new Map<string, boolean | null>();
  return states.map((row) => {
    const readable = row[1] === "t";
    return {
      name: cell(row, 0),
      lastValue: row[2] ?? null,
      isCalled: readable ? row[2] !== null : null,
      behind: compare ? (behind.has(cell(row, 0)) ? (behind.get(cell(row, 0)) ?? null) : false) : null,
    };
  });
}

async function findBehind(ask: Ask): Promise<Map<string, boolean | null>> {
  const found = new Map<string, boolean | null>();
  for (const feeding of await feedingSequences(ask)) {
    const before = found.get(feeding.sequence);
    if (before === true) continue;
    const now = await gently(ask, () => isBehind(ask, feeding)).catch((error: unknown) => {
      if (error instanceof AbortedError) throw error;
      return null;
    });
    found.set(feeding.sequence, now === true ? true : before === null ? null : now);
  }
  return found;
}
