/*
 * The marker is a row that each run writes twice: in a commit before its restore point and in one after it. What the row
 * says in a recovered database shows, in the data itself, that nothing before a point is lost and nothing after it is there.
 */

/** The table, in the database of the source's connection. It has one row. */
export const MARKER_TABLE = "drillbook.marker";

/** On which side of its restore point the row was written. */
export type MarkerSide = "before" | "after";

/** What makes the table by hand, for a role that may not make schemas. */
export const MARKER_SQL: readonly string[] = [
  "CREATE SCHEMA IF NOT EXISTS drillbook",
  "CREATE TABLE drillbook.marker (id int PRIMARY KEY CHECK (id = 1), point text, side text, written_at timestamptz)",
  "INSERT INTO drillbook.marker (id) VALUES (1)",
];

const OWN_POINT = /^drillbook-\d{8}T\d{6}Z-/;
const MARKED = "-marked";

/** `drillbook-20260125T143000Z-<id>`: the restore point of a run; with `-marked` when it has a marker on both sides. */
export function pointName(now: Date, id: string, marked: boolean): string {
  const time = now.toISOString().replace(/[-:]|\.\d+/g, "");
  return `drillbook-${time}-${id}${marked ? MARKED : ""}`;
}

/** Whether a restore point is that of a run, and not somebody's own. */
export function isOwnPoint(name: string): boolean {
  return OWN_POINT.test(name);
}

export function isMarkedPoint(name: string): boolean {
  return isOwnPoint(name) && name.endsWith(MARKED);
}
