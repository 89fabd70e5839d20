import { compareObjects } from "../census/compare.ts";
import { readRoles } from "../census/objects.ts";
import { type Answer, boundedLines, type Ground } from "./ground.ts";
import { isSteady } from "./steadiness.ts";

const EXPECTED = "the roles of the census, with their attributes and memberships";

/** The roles against the census; see {@link import("./schema.ts").compareSchema} for what a difference means. */
export async function compareRoles(ground: Ground): Promise<Answer> {
  const { census, databases, reachedLsn, temporaryRole } = ground;
  const session = await ground.openSpelling(databases[0] ?? "postgres");
  const roles = await readRoles((text, values) => session.query(text, values)).finally(() => session.close());
  if (census === undefined) {
    return { status: "unverified", expected: EXPECTED, actual: "the backup has no census" };
  }
  const now = roles.filter((role) => role.name !== temporaryRole);
  const then = census.roles.objects;
  const difference = compareObjects(then, now);
  const actual = `checked ${then.length} of ${then.length}`;
  const lines = boundedLines(difference.lines);
  if (lines.length === 0) return { status: "passed", expected: EXPECTED, actual };
  const steady = isSteady(census.roles.steady, reachedLsn);
  return {
    status: steady ? "failed" : "passed",
    expected: EXPECTED,
    actual: `${actual}, ${difference.lines.length} different${steady ? "" : " after later changes"}: ${lines[0]}`,
    lines,
  };
}
