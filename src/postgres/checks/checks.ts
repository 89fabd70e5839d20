import { AbortedError, codeOf, messageOf } from "../../errors.ts";
import { meets } from "../../expect.ts";
import type { CheckResult, Verdict } from "../../record.ts";
import { parseTime, toRfc3339 } from "../../targets.ts";
import { formatDuration } from "../../values.ts";
import type { TableRows } from "../census/document.ts";
import type { PostgresCheck, Tolerance } from "../config.ts";
import type { Session } from "./session.ts";

/** What the census says of the database that is checked. */
export interface CensusView {
  /** What a table of the runbook was called in full; null when there was none; undefined when it was not asked for. */
  resolve(table: string): string | null | undefined;
  readonly rows: readonly TableRows[];
}

/** What checks are measured against. */
export interface CheckSubject {
  readonly component: string;
  /** What `rows` checks compare with; asked for only by them. */
  census(): Promise<CensusView | undefined>;
  /** The moment that `max-age` counts back from: the target's, the restore point's, or the backup's end. */
  readonly momentMicros: bigint;
  /** A connection of its own for each check: one that breaks does not spoil the next. */
  open(): Promise<Session>;
}

type Answer = Pick<CheckResult, "status" | "expected" | "actual">;

const TIMEOUT = "5min";
const LONGEST = 200;

/** Runs the checks in order, each in a read-only transaction. One that cannot run is `unverified`. */
export async function runChecks(
  checks: readonly PostgresCheck[],
  subject: CheckSubject,
): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  for (const check of checks) {
    const answer = await runCheck(check, subject).catch((error: unknown): Answer => {
      if (error instanceof AbortedError) throw error;
      return couldNotRun(error, describeExpectation(check));
    });
    results.push({ component: subject.component, check: describe(check), ...answer });
  }
  return results;
}

/** The check in the words of the runbook. */
function describe(check: PostgresCheck): string {
  return "rows" in check ? `rows: ${check.rows}` : check.query.trim();
}

function describeExpectation(check: PostgresCheck): string {
  if ("rows" in check) return "the count captured with the backup";
  const age = check["max-age"];
  return check.expect?.text ?? (age === undefined ? "" : `at most ${formatDuration(age)} old`);
}

async function runCheck(check: PostgresCheck, subject: CheckSubject): Promise<Answer> {
  if ("rows" in check) return compareRows(check.rows, check.tolerance, subject);
  const expected = describeExpectation(check);
  const rows = await readOnly(subject, check.query);
  const row = rows[0];
  if (row === undefined) return { status: "failed", expected, actual: "no row" };
  // Which one comes first is chance, and the others were not looked at.
  if (rows.length > 1) return { status: "failed", expected, actual: "more than one row" };
  const value = row[0];
  if (value === undefined) return { status: "failed", expected, actual: "no column" };
  if (value === null) return { status: "failed", expected, actual: "NULL" };
  if (check.expect !== undefined) {
    return { status: passedIf(meets(check.expect, value)), expected, actual: cut(value) };
  }
  const age = check["max-age"];
  return age === undefined
    ? { status: "unverified", expected, actual: "the check expects nothing" }
    : compareAge(value, age, expected, subject.momentMicros);
}

function compareAge(value: string, seconds: number, expected: string, momentMicros: bigint): Answer {
  const micros = parseServerTime(value);
  const bounded = `${expected} at ${toRfc3339(momentMicros)}`;
  if (micros === undefined) {
    return { status: "unverified", expected: bounded, actual: `${cut(value)}, which is not a time` };
  }
  const age = momentMicros - micros;
  const most = BigInt(seconds) * 1_000_000n;
  // A date in the far future, such as a due date or a test row, would hide for ever that nothing new is written.
  if (-age > most) {
    return { status: "failed", expected: bounded, actual: `${cut(value)}, which is later than that moment` };
  }
  return { status: passedIf(age <= most), expected: bounded, actual: cut(value) };
}

/** The session's time zone is UTC, so a timestamp without one is read as UTC, and a date as its first moment. */
function parseServerTime(value: string): bigint | undefined {
  return parseTime(value) ?? parseTime(`${value}+00`) ?? parseTime(`${value} 00:00:00+00`);
}

async function compareRows(table: string, tolerance: Tolerance, subject: CheckSubject): Promise<Answer> {
  const captured = await findRows(table, subject);
  if ("notCaptured" in captured) {
    const actual = `not captured: ${captured.notCaptured}`;
    return { status: "unverified", expected: "a count captured with the backup", actual };
  }
  const allowed = tolerance.unit === "percent" ? (captured.rows * tolerance.value) / 100 : tolerance.value;
  const within =
    tolerance.value === 0 ? "" : ` ± ${tolerance.value}${tolerance.unit === "percent" ? " %" : ""}`;
  const expected = `${captured.rows}${within}`;
  // The table's full name, quoted by the source's server when it was counted.
  const counted = readOnly(subject, `SELECT count(*) FROM ${captured.table}`);
  const [row] = await counted.catch((error: unknown) => {
    // It was there when the backup was taken.
    if (codeOf(error) === "42P01") return [];
    throw error;
  });
  if (row === undefined) return { status: "failed", expected, actual: "the table is not there" };
  const rows = Number(row[0]);
  return { status: passedIf(Math.abs(rows - captured.rows) <= allowed), expected, actual: String(rows) };
}

async function findRows(table: string, subject: CheckSubject): Promise<TableRows> {
  const census = await subject.census();
  if (census === undefined) return { table, notCaptured: "the backup has no census of this database" };
  const written = census.resolve(table);
  const name = written === undefined ? await resolveHere(table, subject) : written;
  if (name === null) return { table, notCaptured: "there was no such table" };
  const found = census.rows.find((one) => one.table === name);
  return found ?? { table, notCaptured: "take a backup with this check in the runbook" };
}

/** A check that is newer than the backup: the name means what it means on the recovered server. */
async function resolveHere(table: string, subject: CheckSubject): Promise<string | null> {
  const [row] = await readOnly(
    subject,
    `SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.oid = to_regclass('${table.replaceAll("'", "''")}')`,
  );
  return row?.[0] ?? null;
}

async function readOnly(subject: CheckSubject, query: string): Promise<(string | null)[][]> {
  const session = await subject.open();
  try {
    await session.query("BEGIN TRANSACTION READ ONLY");
    await session.query(`SET LOCAL statement_timeout = '${TIMEOUT}'`);
    // Two are enough to see that there is more than one; all rows of a table may not fit into the memory.
    return await session.firstRows(query, 2);
  } finally {
    await session.close();
  }
}

/** The server's sentence without its detail; of a data error (class 22) without the value, which comes from a row. */
function couldNotRun(error: unknown, expected: string): Answer {
  const said = messageOf(error);
  const shown = codeOf(error)?.startsWith("22") === true ? said.replace(/:? ".*"/s, "") : said;
  return { status: "unverified", expected, actual: cut(shown) };
}

function passedIf(condition: boolean): Verdict {
  return condition ? "passed" : "failed";
}

function cut(text: string): string {
  const line = text.replace(/\s+/g, " ");
  return line.length > LONGEST ? `${line.slice(0, LONGEST)}…` : line;
}
