import { ToolError } from "../../errors.ts";
import type { PostgresDetails } from "../details.ts";
import type { Connection, Row } from "./connection.ts";

/** What the manifest says of the cluster itself, whatever the backup. */
export type SourceFacts = Pick<
  PostgresDetails,
  | "serverVersion"
  | "serverVersionNum"
  | "major"
  | "dataChecksums"
  | "bootstrapSuperuser"
  | "database"
  | "databases"
  | "extensions"
  | "settings"
>;

/** Those that recovery must match or override, and those that people ask for when they rebuild a server. */
const SETTINGS = [
  "max_connections",
  "max_wal_senders",
  "max_worker_processes",
  "max_prepared_transactions",
  "max_locks_per_transaction",
  "wal_level",
  "wal_log_hints",
  "full_page_writes",
  "shared_preload_libraries",
  "lc_messages",
  "huge_pages",
  "shared_buffers",
  "block_size",
  "wal_block_size",
  "max_slot_wal_keep_size",
  "data_directory",
  "config_file",
  "hba_file",
  "ident_file",
];

/** Reads the facts over an SQL connection. Settings that the role may not read are left out. */
export async function readSourceFacts(connection: Connection): Promise<SourceFacts> {
  const doing = "reading facts of the cluster";
  const one = (
    await connection.query(
      doing,
      `SELECT current_setting('server_version') AS version, current_setting('server_version_num') AS version_num,
         current_setting('data_checksums') AS checksums, current_database() AS database,
         (SELECT rolname FROM pg_roles WHERE oid = 10) AS superuser`,
    )
  )[0];
  const versionNum = Number(need(one, "version_num"));
  const major = Math.floor(versionNum / 10_000);
  return {
    // "15.18 (Debian 15.18-0+deb12u1)": the number alone.
    serverVersion: need(one, "version").split(" ")[0] ?? "",
    serverVersionNum: versionNum,
    major,
    dataChecksums: one?.checksums === "on",
    bootstrapSuperuser: need(one, "superuser"),
    database: need(one, "database"),
    databases: (await connection.query(doing, databasesQuery(major))).map((row) => ({
      name: need(row, "name"),
      encoding: need(row, "encoding"),
      localeProvider: { c: "libc", i: "icu", b: "builtin" }[need(row, "provider")] ?? need(row, "provider"),
      collate: need(row, "collate"),
      ctype: need(row, "ctype"),
      locale: row.locale ?? null,
      collationVersion: row.collation_version ?? null,
    })),
    extensions: (
      await connection.query(doing, "SELECT extname, extversion FROM pg_extension ORDER BY extname")
    ).map((row) => ({ name: need(row, "extname"), version: need(row, "extversion") })),
    settings: Object.fromEntries(
      (
        await connection.query(
          doing,
          "SELECT name, setting FROM pg_settings WHERE name = ANY ($1) ORDER BY name",
          [SETTINGS],
        )
      ).map((row) => [need(row, "name"), row.setting ?? ""]),
    ),
  };
}

function databasesQuery(major: number): string {
  // 14 has databases of libc alone, without versions; 15 and 16 know only ICU locales besides; 17 made one column of
  // them and of the built-in ones.
  const locale = major >= 17 ? "datlocale" : "daticulocale";
  const provider =
    major >= 15
      ? `datlocprovider AS provider, ${locale} AS locale, datcollversion AS collation_version`
      : "'c' AS provider, NULL AS locale, NULL AS collation_version";
  return `SELECT datname AS name, pg_encoding_to_char(encoding) AS encoding, ${provider},
      datcollate AS collate, datctype AS ctype
    FROM pg_database WHERE datallowconn ORDER BY datname`;
}

/** The server's clock as `2026-01-25T12:00:00.123456Z`. */
export const SERVER_TIME = `to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

/** A moment of the source: its clock, and which transactions had ended by then. */
export interface SourceMoment {
  readonly time: string;
  /** As `pg_current_snapshot()` spells it: `<xmin>:<xmax>:<running between them>`. */
  readonly snapshot: string;
}

/** The snapshot is taken no later than the clock is read. */
export async function sourceMoment(connection: Connection): Promise<SourceMoment> {
  const [row] = await connection.query(
    "reading its clock",
    `SELECT ${SERVER_TIME} AS time, pg_current_snapshot() AS snapshot`,
  );
  return { time: need(row, "time"), snapshot: need(row, "snapshot") };
}

export async function serverTime(connection: Connection): Promise<string> {
  const [row] = await connection.query("reading its clock", `SELECT ${SERVER_TIME} AS time`);
  return need(row, "time");
}

/** A sentence on the state of the server's archiving, for when its files do not arrive. */
export async function describeArchiving(connection: Connection): Promise<string> {
  const [row] = await connection.query(
    "reading the state of its archiving",
    `SELECT current_setting('archive_mode') AS mode, last_archived_wal AS archived, last_failed_wal AS failed,
       coalesce(last_failed_time > last_archived_time, last_failed_time IS NOT NULL) AS failing
     FROM pg_stat_archiver`,
  );
  if (need(row, "mode") === "off") {
    return "Its archive_mode is off: set archive_mode and archive_command, or pull WAL through a slot.";
  }
  if (row?.failing === "t") {
    return `Its archive_command failed last, for ${row.failed}: see the server's log.`;
  }
  return row?.archived == null
    ? "It has not archived anything yet: see its archive_command."
    : `It says that it archived up to ${row.archived}: does its archive_command fill this folder?`;
}

/** What a WAL sender says of its cluster. */
export interface ClusterIdentity {
  readonly systemIdentifier: string;
  readonly timeline: number;
  /** Flushed up to here. */
  readonly flushedTo: string;
  readonly walSegmentBytes: number;
}

/** Asks a replication connection who it is. */
export async function identify(replication: Connection): Promise<ClusterIdentity> {
  const doing = "identifying the cluster";
  const [system] = await replication.query(doing, "IDENTIFY_SYSTEM");
  const [size] = await replication.query(doing, "SHOW wal_segment_size");
  return {
    systemIdentifier: need(system, "systemid"),
    timeline: Number(need(system, "timeline")),
    flushedTo: need(system, "xlogpos"),
    walSegmentBytes: readSegmentSize(need(size, "wal_segment_size")),
  };
}

/** `16MB` or `1GB`, as SHOW prints it: PostgreSQL counts in powers of two. */
function readSegmentSize(text: string): number {
  const match = /^(\d+)(kB|MB|GB)$/.exec(text);
  const unit = { kB: 2 ** 10, MB: 2 ** 20, GB: 2 ** 30 }[match?.[2] ?? ""];
  if (match === null || unit === undefined)
    throw new ToolError(`The server's wal_segment_size is "${text}".`);
  return Number(match[1]) * unit;
}

/** A column that the server always fills. */
export function need(row: Row | undefined, column: string): string {
  const value = row?.[column];
  if (value === undefined || value === null) {
    throw new ToolError(
      `The server's answer lacks "${column}": is it PostgreSQL, without a pooler in between?`,
    );
  }
  return value;
}
