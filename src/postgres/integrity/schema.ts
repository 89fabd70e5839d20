import { compareObjects, type Difference } from "../census/compare.ts";
import type { DatabaseCensus } from "../census/document.ts";
import type { ObjectsByDatabase } from "./flaws.ts";
import { type Answer, boundedLines, type Ground } from "./ground.ts";
import { isSteady } from "./steadiness.ts";

const EXPECTED = "the schema of the census";

/**
 * The schema against the census. Where nothing may have changed it since, every difference is a failure. Behind a
 * change in the source differences are told but no failure, unless the catalog itself shows that a table was lost and
 * not dropped.
 */
export async function compareSchema(
  ground: Ground,
  all: ObjectsByDatabase,
  mainDatabase: string,
): Promise<Answer> {
  const { census, reachedLsn } = ground;
  if (census === undefined) {
    return { status: "unverified", expected: EXPECTED, actual: "the backup has no census" };
  }
  let total = 0;
  let compared = 0;
  let unproven = 0;
  const wrong: string[] = [];
  const changed: string[] = [];
  const notes: string[] = [];
  for (const then of census.databases) {
    if ("notCaptured" in then) {
      notes.push(`${then.name}: not compared: ${then.notCaptured}`);
      if (then.name === mainDatabase) unproven += 1;
      continue;
    }
    total += then.objects.length;
    const now = all.get(then.name);
    const steady = isSteady(then.steady, reachedLsn);
    if (now === undefined) {
      (steady ? wrong : changed).push(`database ${then.name} is not there`);
      continue;
    }
    compared += then.objects.length;
    const difference = compareObjects(then.objects, now);
    wrong.push(...(await lostTables(ground, then, difference)));
    (steady ? wrong : changed).push(...difference.lines.map((line) => `${then.name}: ${line}`));
  }
  const parts = [`compared ${compared} of ${total} objects`];
  if (wrong.length > 0) parts.push(`${wrong.length} different: ${wrong[0]}`);
  if (changed.length > 0) {
    parts.push(`${changed.length} different, which changes in the source after the census may explain`);
  }
  if (unproven > 0) parts.push("the main database has no census");
  const lines = boundedLines([...wrong, ...changed, ...notes]);
  return {
    status: wrong.length > 0 ? "failed" : unproven > 0 ? "unverified" : "passed",
    expected: EXPECTED,
    actual: parts.join(", "),
    ...(lines.length === 0 ? {} : { lines }),
  };
}

/** DROP TABLE leaves nothing of a table: columns without their table are the trace of a loss. */
async function lostTables(ground: Ground, then: DatabaseCensus, { absent }: Difference): Promise<string[]> {
  const gone = absent.filter((one) => one.oid !== undefined);
  if (gone.length === 0) return [];
  const session = await ground.open(then.name);
  try {
    const rows = await session.query(
      `SELECT DISTINCT a.attrelid FROM pg_attribute a
       WHERE a.attrelid = ANY ($1::oid[]) AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = a.attrelid)`,
      [`{${gone.map((one) => one.oid).join(",")}}`],
    );
    const lost = new Set(rows.map(([oid]) => oid));
    return gone
      .filter((one) => lost.has(one.oid))
      .map((one) => `${then.name}: ${one.kind} ${one.name} is lost: its columns are there, but it is not`);
  } finally {
    await session.close();
  }
}
