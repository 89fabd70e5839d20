import { cell } from "../checks/ask.ts";
import { type Answer, boundedLines, type Ground, inEachDatabase } from "./ground.ts";

const EXPECTED = "the source's versions of the collation libraries, or indexes that amcheck finds in order";

const DATABASES = `SELECT datname, datcollversion, pg_database_collation_actual_version(oid)
  FROM pg_database WHERE datcollversion IS NOT NULL AND datallowconn ORDER BY datname`;

const COLLATIONS = `SELECT format('%I.%I', n.nspname, c.collname), c.collversion, pg_collation_actual_version(c.oid)
  FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
  WHERE c.collversion IS NOT NULL AND EXISTS (
    SELECT FROM pg_depend d WHERE d.refclassid = 'pg_collation'::regclass AND d.refobjid = c.oid)
  ORDER BY 1`;

/**
 * Compares versions of collation libraries. Another version is no fault of the backup: it is noted, because text may
 * sort differently in the scratch server. Indexes that are out of order here are found by amcheck.
 */
export async function checkCollations(ground: Ground): Promise<Answer> {
  let total = 0;
  const differing = await inEachDatabase(ground, async (session, database) => {
    const own = await session.query(COLLATIONS);
    const isFirst = database === ground.databases[0];
    // 14 knows no version of a database's own collation.
    const shared = isFirst && ground.major >= 15 ? await session.query(DATABASES) : [];
    total += own.length + shared.length;
    return [
      ...shared.map((row) => ({ subject: `database ${cell(row, 0)}`, row })),
      ...own.map((row) => ({ subject: `${database}: collation ${cell(row, 0)}`, row })),
    ].filter(({ row }) => row[1] !== row[2]);
  });
  const lines = boundedLines(
    differing.map(
      ({ subject, row }) => `${subject}: version ${row[1]} in the source, ${row[2] ?? "none"} here`,
    ),
  );
  const other =
    differing.length === 0 ? "" : `, ${differing.length} with another version in the scratch server`;
  return {
    status: "passed",
    expected: EXPECTED,
    actual: `checked ${total} of ${total}${other}`,
    ...(lines.length === 0 ? {} : { lines }),
  };
}
