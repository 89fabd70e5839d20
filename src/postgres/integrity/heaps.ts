import type { Answer, Ground } from "./ground.ts";
import { type Swept, sweep, sweepAnswer } from "./sweep.ts";

const HEAPS = `SELECT c.oid, format('table %I.%I', n.nspname, c.relname), pg_relation_size(c.oid), c.relisshared
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_am a ON a.oid = c.relam
  WHERE a.amname = 'heap' AND c.relkind IN ('r', 'm', 't') AND c.relpersistence <> 't'`;

/** amcheck over all tables, their TOAST tables and materialized views; every page of them is read. */
export async function sweepHeaps(ground: Ground): Promise<Swept> {
  return await sweep(ground, {
    label: "Integrity: tables",
    extension: "amcheck",
    list: HEAPS,
    async look(session, item, { schema }) {
      const rows = await session.query(
        `SELECT blkno, offnum, msg FROM ${schema}.verify_heapam(relation => $1::oid::regclass, on_error_stop => true,
           check_toast => true, skip => 'none') LIMIT 1`,
        [item.oid],
      );
      const [block, offset, message] = rows[0] ?? [];
      if (message === undefined) return undefined;
      return `page ${block}${offset === null ? "" : `, tuple ${offset}`}: ${message}`;
    },
  });
}

export function heapsAnswer(swept: Swept): Answer {
  return sweepAnswer(swept, "every row of every table readable");
}
