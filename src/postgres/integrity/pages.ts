import { messageOf } from "../../errors.ts";
import { provesDamage } from "./damage.ts";
import { type Answer, boundedLines, type Ground } from "./ground.ts";
import { keyOf, type Swept, sweep, sweepAnswer } from "./sweep.ts";

/** Every fork that exists. The main one counts always: its file must be there. */
const FORKS = `SELECT c.oid,
    format('%s %I.%I', CASE c.relkind WHEN 'i' THEN 'index' WHEN 'S' THEN 'sequence' ELSE 'table' END,
      n.nspname, c.relname) || CASE fork WHEN 'main' THEN '' ELSE ', ' || fork END,
    pg_relation_size(c.oid, fork), fork, c.relisshared
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
    unnest(ARRAY['main', 'vm', 'init', 'fsm']) AS fork
  WHERE c.relkind IN ('r', 'm', 't', 'i', 'S') AND c.relpersistence <> 't'
    AND (fork = 'main' OR pg_relation_size(c.oid, fork) > 0)`;

/**
 * Reads every page through the server's own buffers, which compares its checksum and header. Pages that amcheck has
 * read in `heaps` are not read again. `pg_prewarm` does this in C at the speed of the disk.
 */
export async function checkPages(ground: Ground, heaps: Swept | undefined): Promise<Answer> {
  const notes: string[] = [];
  const rest = await sweep(ground, {
    label: "Integrity: all other pages",
    extension: "pg_prewarm",
    list: FORKS,
    wanted: (item) => item.more[0] !== "main" || heaps?.seen.has(keyOf(item)) !== true,
    async look(session, item, { schema }) {
      const [fork] = item.more;
      try {
        await session.query(`SELECT ${schema}.pg_prewarm($1::oid::regclass, 'buffer', $2)`, [
          item.oid,
          fork ?? "",
        ]);
      } catch (error) {
        if (fork !== "fsm" || !provesDamage(error)) throw error;
        notes.push(
          `${item.database}: ${item.name}: ${messageOf(error)} (PostgreSQL rebuilds this map itself)`,
        );
      }
      return undefined;
    },
  });
  const read = heaps?.seen.size ?? 0;
  const answer = sweepAnswer({ ...rest, total: rest.total + read, checked: rest.checked + read }, EXPECTED);
  if (!ground.dataChecksums) {
    notes.push("data checksums are off in this cluster: a bit that changed inside of a page is not seen");
  }
  const lines = [...(answer.lines ?? []), ...notes];
  const actual = ground.dataChecksums ? answer.actual : `${answer.actual}, without data checksums`;
  return { ...answer, actual, ...(lines.length === 0 ? {} : { lines: boundedLines(lines) }) };
}

const EXPECTED = "every page readable, with the right checksum";
