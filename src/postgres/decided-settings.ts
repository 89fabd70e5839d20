const FAMILIES = /^(?:archive_|recovery_|primary_|hot_standby|include|unix_socket_)/;

const NAMES: ReadonlySet<string> = new Set([
  "restore_command",
  "config_file",
  "hba_file",
  "ident_file",
  "data_directory",
  "external_pid_file",
  "listen_addresses",
  "port",
  "standby_mode",
  "promote_trigger_file",
  "ssl",
  "lc_messages",
  "log_destination",
  "log_line_prefix",
  "log_min_messages",
  "log_min_error_statement",
  "log_statement",
  "log_timezone",
  "logging_collector",
  "timezone",
  "restart_after_crash",
  "wal_recycle",
  "synchronous_standby_names",
  "ignore_invalid_pages",
  "zero_damaged_pages",
  "ignore_checksum_failure",
]);

/** Whether a setting of PostgreSQL is one that the runbook may not change: without ours a recovery proves nothing, or does harm. */
export function isDecidedByRecovery(name: string): boolean {
  const key = name.toLowerCase();
  return FAMILIES.test(key) || NAMES.has(key);
}
