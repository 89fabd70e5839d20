import { codeOf } from "../../errors.ts";
import type { Answer, Ground } from "./ground.ts";
import { sweep, sweepAnswer } from "./sweep.ts";

/** Whether the index sorts by a collation whose library has another version here than in the source. */
function sortedElsewhere(major: number): string {
  // 14 knows no version of a database's own collation.
  const ofDatabase =
    major < 15
      ? "false"
      : `(SELECT datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid)
          FROM pg_database WHERE datname = current_database())`;
  return `EXISTS (
    SELECT FROM unnest(i.indcollation) AS used (oid) JOIN pg_collation co ON co.oid = used.oid
    WHERE CASE co.collprovider WHEN 'd' THEN ${ofDatabase}
      ELSE co.collversion IS DISTINCT FROM pg_collation_actual_version(co.oid) END)`;
}

function indexes(major: number): string {
  return `SELECT c.oid, format('index %I.%I', n.nspname, c.relname), pg_relation_size(c.oid),
      ${sortedElsewhere(major)}, c.relisshared
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_am a ON a.oid = c.relam
    WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence <> 't' AND i.indisvalid AND i.indisready`;
}

/** From this version of amcheck on (PostgreSQL 17) uniqueness can be checked too. */
const CHECKS_UNIQUENESS = 1.4;

/** amcheck over all valid B-tree indexes: their order, and that every row of the table is in them. */
export async function checkBtreeIndexes(ground: Ground): Promise<Answer> {
  const swept = await sweep(ground, {
    label: "Integrity: B-tree indexes",
    extension: "amcheck",
    list: indexes(ground.major),
    async look(session, item, { schema, version }) {
      const more = version >= CHECKS_UNIQUENESS ? ", checkunique => true" : "";
      await session.query(
        `SELECT ${schema}.bt_index_check(index => $1::oid::regclass, heapallindexed => true${more})`,
        [item.oid],
      );
      return undefined;
    },
    excuse(item, error) {
      if (codeOf(error) !== "XX002" || item.more[0] !== "t") return undefined;
      return "the scratch server sorts text by another version of the collation library, so it may be whole";
    },
  });
  return sweepAnswer(swept, "every index in order, with every row of its table");
}
