import type { Context } from "../../context.ts";
import { AbortedError, messageOf, ToolError, UserError } from "../../errors.ts";
import { type Ask, cell, gently } from "../checks/ask.ts";
import type { Connection } from "../source/connection.ts";
import { SERVER_TIME } from "../source/source-facts.ts";
import type { Census, SchemaObject, Steady } from "./document.ts";
import { fingerprint, readObjects, readRoles, SPELLING } from "./objects.ts";
import { countRows } from "./rows.ts";
import { readSequences } from "./sequences.ts";

/** The source as the census reaches it. */
export interface CensusSource {
  readonly backupId: string;
  readonly major: number;
  /** The database of the runbook's connection. */
  readonly database: string;
  /** `schema`: only the tables of `checkedTables` are counted. */
  readonly extent: "full" | "schema";
  /** Tables of the runbook's `rows` checks, as it spells them. */
  readonly checkedTables: readonly string[];
  /** A new connection to one of the cluster's databases; the caller closes it. */
  open(database: string): Promise<Connection>;
  readonly context: Context;
}

/** A look at all objects before the backup: what it saw, and where in the WAL that surely was. */
export interface Look {
  readonly databases: ReadonlyMap<string, Seen>;
  readonly roles: Seen;
}

interface Seen {
  readonly fingerprint: string;
  readonly lsn: string;
}

const DOING = "taking the census";
const PARALLEL = 2;
const EVERY_MS = 5_000;

/** Databases that every cluster has and that need not let the role in. */
const MAINTENANCE = ["postgres", "template1"];

const DATABASES = `SELECT datname FROM pg_database
  WHERE datallowconn AND has_database_privilege(oid, 'CONNECT') ORDER BY datname = current_database() DESC, datname`;

/**
 * Looks at the objects alone. `position`: read `after` the look, for what was seen to hold from there on, or `before`
 * it, for it to hold up to there.
 */
export async function lookAtObjects(source: CensusSource, position: "before" | "after"): Promise<Look> {
  const databases = new Map<string, Seen>();
  let roles: Seen | undefined;
  for (const name of await listDatabases(source)) {
    const look = await withDatabase(source, name, async (ask) => {
      const early = await readLsn(ask);
      await begin(ask);
      const objects = fingerprint(await readObjectsGently(ask, source.major));
      const ofRoles = roles === undefined ? fingerprint(await readRoles(ask)) : undefined;
      const lsn = position === "before" ? early : await readLsn(ask);
      await ask("ROLLBACK");
      return { objects, ofRoles, lsn };
    });
    if (typeof look === "string") continue;
    if (look.ofRoles !== undefined) roles = { fingerprint: look.ofRoles, lsn: look.lsn };
    databases.set(name, { fingerprint: look.objects, lsn: look.lsn });
  }
  return { databases, roles: roles ?? { fingerprint: "", lsn: "0/0" } };
}

/**
 * Takes the census: each database in one snapshot of its own. A database that can't be reached is recorded as not
 * captured, with a warning. `before` is a look from before the backup.
 */
export async function takeCensus(source: CensusSource, before: Look): Promise<Census> {
  const { context, extent } = source;
  const began = performance.now();
  const databases: Census["databases"] = [];
  let roles: Census["roles"] | undefined;
  let tables: Census["tables"] = {};
  let lastLine = began;
  let counted = 0;
  const onTable = () => {
    counted += 1;
    if (performance.now() - lastLine < EVERY_MS) return;
    lastLine = performance.now();
    context.log.info(`Census: the rows of ${counted} tables are counted`);
  };
  for (const name of await listDatabases(source)) {
    const isMain = name === source.database;
    const taken = await withDatabase(source, name, async (ask) => {
      const names = isMain ? await resolveTables(ask, source.checkedTables) : {};
      await begin(ask);
      const capturedAt = cell((await ask(`SELECT ${SERVER_TIME}`))[0], 0);
      const objects = await readObjectsGently(ask, source.major);
      const ofRoles = roles === undefined ? await readRoles(ask) : undefined;
      const lsn = await readLsn(ask);
      const snapshot = cell((await ask("SELECT pg_export_snapshot()"))[0], 0);
      const only = extent === "full" ? undefined : Object.values(names).filter((one) => one !== null);
      const helpers = await openHelpers(source, name, snapshot, only);
      try {
        const rows = await countRows([ask, ...helpers.asks], only, onTable);
        const sequences = await readSequences(ask, extent === "full");
        await ask("ROLLBACK");
        const steady = steadyFrom(before.databases.get(name), objects, lsn);
        return { names, ofRoles, census: { name, capturedAt, lsn, steady, objects, sequences, rows } };
      } finally {
        await helpers.close();
      }
    });
    if (typeof taken === "string") {
      const line = `The census leaves out the database "${name}": ${taken}`;
      if (MAINTENANCE.includes(name) && !isMain) context.log.info(line);
      else context.log.warning(line);
      databases.push({ name, notCaptured: taken });
      continue;
    }
    if (isMain) tables = taken.names;
    const { lsn } = taken.census;
    if (taken.ofRoles !== undefined) {
      roles = { steady: steadyFrom(before.roles, taken.ofRoles, lsn), objects: taken.ofRoles };
    }
    databases.push(taken.census);
  }
  const document: Census = {
    schema: "drillbook/postgres-census/v1",
    backupId: source.backupId,
    roles: roles ?? { steady: { from: "0/0", to: "0/0" }, objects: [] },
    databases,
    tables,
  };
  warnOfCheckedTables(document, source);
  context.log.info(describe(document, (performance.now() - began) / 1000));
  return document;
}

/** The census with a last look, from after the end of the run: what it saw unchanged holds up to there. */
export function extendSteadiness(document: Census, after: Look): Census {
  const extend = (steady: Steady, objects: readonly SchemaObject[], seen: Seen | undefined): Steady =>
    seen?.fingerprint === fingerprint(objects) ? { ...steady, to: seen.lsn } : steady;
  const { roles } = document;
  return {
    ...document,
    roles: { ...roles, steady: extend(roles.steady, roles.objects, after.roles) },
    databases: document.databases.map((one) =>
      "notCaptured" in one
        ? one
        : { ...one, steady: extend(one.steady, one.objects, after.databases.get(one.name)) },
    ),
  };
}

function steadyFrom(seen: Seen | undefined, objects: readonly SchemaObject[], at: string): Steady {
  return { from: seen?.fingerprint === fingerprint(objects) ? seen.lsn : at, to: at };
}

function askOf(connection: Connection): Ask {
  return (text, values) => connection.list(DOING, text, values);
}

async function listDatabases(source: CensusSource): Promise<string[]> {
  const connection = await source.open(source.database);
  try {
    return (await connection.query(DOING, DATABASES)).map((row) => row.datname ?? "");
  } finally {
    await connection.close();
  }
}

const SESSION = [
  "SET statement_timeout = 0",
  "SET idle_in_transaction_session_timeout = 0",
  "SET lock_timeout = '30s'",
];

async function prepare(ask: Ask): Promise<void> {
  for (const statement of SESSION) await ask(statement);
  // A count ends soon after this process is gone. Not every platform's server can look for that.
  await ask("SET client_connection_check_interval = '2s'").catch((error: unknown) => {
    if (error instanceof AbortedError) throw error;
  });
}

/** Works on one database; the reason, as a sentence, when that is not possible. */
async function withDatabase<T extends object>(
  source: CensusSource,
  name: string,
  work: (ask: Ask) => Promise<T>,
): Promise<T | string> {
  let connection: Connection | undefined;
  try {
    connection = await source.open(name);
    const ask = askOf(connection);
    await prepare(ask);
    return await work(ask);
  } catch (error) {
    if (!(error instanceof ToolError || error instanceof UserError)) throw error;
    return messageOf(error);
  } finally {
    await connection?.close();
  }
}

async function begin(ask: Ask, snapshot?: string): Promise<void> {
  for (const statement of SPELLING) await ask(statement);
  await ask("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY");
  if (snapshot !== undefined) await ask(`SET TRANSACTION SNAPSHOT '${snapshot}'`);
}

const POSITION = `SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
  ELSE pg_current_wal_insert_lsn() END`;

async function readLsn(ask: Ask): Promise<string> {
  return cell((await ask(POSITION))[0], 0);
}

/** Functions of the catalog see not the snapshot but the present, so an object may vanish under them. */
async function readObjectsGently(ask: Ask, major: number): Promise<SchemaObject[]> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await gently(ask, () => readObjects(ask, major));
    } catch (error) {
      if (error instanceof AbortedError || attempt === 3) throw error;
    }
  }
}

/** More sessions that see the same snapshot; none when there is nothing to share out. */
async function openHelpers(
  source: CensusSource,
  database: string,
  snapshot: string,
  only: readonly string[] | undefined,
): Promise<{ asks: Ask[]; close(): Promise<void> }> {
  const connections: Connection[] = [];
  const close = async () => {
    await Promise.all(connections.map((connection) => connection.close()));
  };
  if (only !== undefined && only.length < 2) return { asks: [], close };
  try {
    while (connections.length < PARALLEL - 1) {
      const connection = await source.open(database);
      connections.push(connection);
      const ask = askOf(connection);
      await prepare(ask);
      await begin(ask, snapshot);
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { asks: connections.map(askOf), close };
}

/** What the names of the runbook mean to the source's role. */
async function resolveTables(ask: Ask, names: readonly string[]): Promise<Census["tables"]> {
  const tables: Record<string, string | null> = {};
  for (const name of new Set(names)) {
    const [row] = await ask(
      `SELECT format('%I.%I', n.nspname, c.relname)
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)`,
      [name],
    );
    tables[name] = row?.[0] ?? null;
  }
  return tables;
}

/** A check that will not be answered is worth a word while the source is still there. */
function warnOfCheckedTables(document: Census, { database, checkedTables, context }: CensusSource): void {
  const main = document.databases.find((one) => one.name === database);
  if (main === undefined || "notCaptured" in main) return;
  for (const written of new Set(checkedTables)) {
    const found = main.rows.find((one) => one.table === document.tables[written]);
    if (found !== undefined && "rows" in found) continue;
    const why = found?.notCaptured ?? `there is no such table in "${database}"`;
    context.log.warning(`The rows of "${written}" were not counted: ${why}.`);
  }
}

function describe(document: Census, seconds: number): string {
  const captured = document.databases.filter((one) => "objects" in one);
  const objects = captured.reduce((sum, one) => sum + one.objects.length, 0);
  const counts = captured.flatMap((one) => one.rows);
  const counted = counts.filter((one) => "rows" in one).length;
  return `Census: ${captured.length} of ${document.databases.length} databases, ${objects} objects, the rows of ${counted} of ${counts.length} tables, in ${seconds.toFixed(1)} s`;
}
