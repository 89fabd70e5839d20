import { formatLsn } from "../../catalog/lsn.ts";
import { UserError } from "../../errors.ts";
import { formatMicros } from "../../targets.ts";
import type { Goal } from "../goal.ts";
import { MAX_WAL_BYTES } from "../recovery/disk.ts";
import { LOG_LINE_PREFIX } from "../recovery/server-log.ts";

export interface ServerSettings {
  readonly goal: Goal;
  readonly timeline: number;
  readonly restoreCommand: string;
  readonly hbaFile: string;
  readonly identFile: string;
  readonly socketFolder: string;
  readonly port: number;
  /** Bytes of a WAL segment. */
  readonly segmentBytes: number;
  /** The source's settings, by name. */
  readonly source: Readonly<Record<string, string>>;
  /** The runbook's `server.settings`. */
  readonly extra: Readonly<Record<string, string>>;
}

/** The source's values of these are a lower bound: objects of that size come with the WAL. */
const AT_LEAST: Readonly<Record<string, number>> = {
  max_connections: 100,
  // Not checked at the start when hot_standby is off, but a prepared transaction in the WAL needs its place.
  max_prepared_transactions: 500,
  max_locks_per_transaction: 64,
  max_wal_senders: 10,
  max_worker_processes: 8,
};

/**
 * The whole configuration of a scratch server: nothing of the source's own files counts, so that no preloaded
 * library, archive command or listen address of production comes along.
 */
export function serverConfiguration(settings: ServerSettings): string {
  const values: Record<string, string> = {
    listen_addresses: "127.0.0.1",
    port: String(settings.port),
    unix_socket_directories: quoteListItem(settings.socketFolder),
    unix_socket_permissions: "0700",
    hba_file: settings.hbaFile,
    ident_file: settings.identFile,
    ssl: "off",
    password_encryption: "scram-sha-256",

    restore_command: settings.restoreCommand,
    ...goalSettings(settings.goal),
    recovery_target_timeline: String(settings.timeline),
    recovery_target_action: "promote",
    // With hot_standby a raise of max_connections in the WAL would pause recovery for ever and serve stale reads.
    hot_standby: "off",
    archive_mode: "off",

    shared_preload_libraries: "",
    session_preload_libraries: "",
    local_preload_libraries: "",
    max_logical_replication_workers: "0",
    // The server lives for minutes: vacuum would only compete with the replay and change pages under the checks.
    autovacuum: "off",
    ...lowerBounds(settings.source),
    shared_buffers: "256MB",
    huge_pages: "off",
    // Not /dev/shm, which containers keep at 64 MiB.
    dynamic_shared_memory_type: "mmap",
    // Each must hold at least two segments, whatever initdb was told about their size.
    max_wal_size: megabytes(Math.max(MAX_WAL_BYTES, 2 * settings.segmentBytes)),
    min_wal_size: megabytes(2 * settings.segmentBytes),
    wal_recycle: "off",
    // A crash of the scratch server ends the drill anyway: nothing has to survive it.
    fsync: "off",
    synchronous_commit: "off",
    full_page_writes: "off",
    restart_after_crash: "off",

    logging_collector: "off",
    log_destination: "stderr",
    log_line_prefix: LOG_LINE_PREFIX,
    log_min_messages: "warning",
    // Statements of checks may hold values of tables.
    log_min_error_statement: "panic",
    log_statement: "none",
    log_timezone: "UTC",
    timezone: "UTC",
    datestyle: "ISO, MDY",
    lc_messages: "C",
    ...settings.extra,
  };
  const lines = Object.entries(values).map(([name, value]) => `${name} = ${quoteSetting(value)}`);
  return `${lines.join("\n")}\n`;
}

function megabytes(bytes: number): string {
  return `${bytes / 2 ** 20}MB`;
}

function goalSettings(goal: Goal): Record<string, string> {
  switch (goal.kind) {
    case "restore-point":
      return { recovery_target_name: goal.name };
    case "time":
      return { recovery_target_time: formatMicros(goal.micros), ...inclusive(goal.exclusive) };
    case "lsn":
      return { recovery_target_lsn: formatLsn(goal.lsn), ...inclusive(goal.exclusive) };
    case "xid":
      return { recovery_target_xid: String(goal.xid), ...inclusive(goal.exclusive) };
    case "immediate":
      return { recovery_target: "immediate" };
  }
}

function inclusive(exclusive: boolean): Record<string, string> {
  return { recovery_target_inclusive: exclusive ? "off" : "on" };
}

function lowerBounds(source: Readonly<Record<string, string>>): Record<string, string> {
  const bounds: Record<string, string> = {};
  for (const [name, least] of Object.entries(AT_LEAST)) {
    const value = Number(source[name]);
    bounds[name] = String(Number.isSafeInteger(value) ? Math.max(value, least) : least);
  }
  return bounds;
}

/** A value for the configuration file: quotes and backslashes mean something there (guc-file.l). */
export function quoteSetting(value: string): string {
  if (/[\n\r\0]/.test(value))
    throw new UserError("A setting of server.settings holds a line break: remove it.");
  return `'${value.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;
}

/** One folder in a setting that is a list of folders. */
function quoteListItem(folder: string): string {
  return `"${folder.replaceAll('"', '""')}"`;
}

/**
 * Who may connect: over the socket everybody who can reach it, which is its folder's owner and root; over TCP only
 * the temporary role, with its password.
 */
export function hbaFile(role: string): string {
  return `local all all trust\nhost all "${role}" 127.0.0.1/32 scram-sha-256\n`;
}
