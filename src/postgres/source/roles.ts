import type { Context } from "../../context.ts";
import { UserError } from "../../errors.ts";
import type { Connection } from "./connection.ts";
import { missingReplication, quoteName, walLevelTooLow } from "./errors.ts";

/** What the role of the source's connection may do beyond reading. */
export interface Abilities {
  readonly createRestorePoint: boolean;
  readonly switchWal: boolean;
}

const OLDEST_MAJOR = 14;
const NEWEST_MAJOR = 18;

/** Sessions read times and numbers in one spelling and are not ended by time limits of the role. */
const SESSION = [
  "SET statement_timeout = 0",
  "SET idle_in_transaction_session_timeout = 0",
  "SET lock_timeout = '30s'",
  "SET timezone = 'UTC'",
  "SET datestyle = 'ISO'",
].join("; ");

/**
 * Checks before anything is written that this server and role can be backed up, and makes the session fit.
 * Throws a {@link UserError} that says what to change.
 */
export async function checkSource(connection: Connection): Promise<Abilities> {
  const { label, user } = connection.endpoint;
  await connection.query("preparing the session", SESSION);
  const [facts] = await connection.query(
    "reading its settings",
    `SELECT current_setting('server_version_num')::int / 10000 AS major,
       current_setting('wal_level') AS wal_level,
       pg_is_in_recovery() AS standby,
       r.rolsuper OR r.rolreplication AS may_replicate,
       has_function_privilege('pg_create_restore_point(text)', 'EXECUTE') AS restore_point,
       has_function_privilege('pg_switch_wal()', 'EXECUTE') AS switch_wal
     FROM pg_roles r WHERE r.rolname = current_user`,
  );
  const major = Number(facts?.major);
  if (major < OLDEST_MAJOR || major > NEWEST_MAJOR) {
    throw new UserError(
      `PostgreSQL at ${label} is version ${major}: the physical method needs ${OLDEST_MAJOR} to ${NEWEST_MAJOR}.`,
    );
  }
  if (facts?.standby === "t") {
    throw new UserError(
      `PostgreSQL at ${label} is a standby: connect to the primary, whose WAL can be switched.`,
    );
  }
  if (facts?.wal_level === "minimal") throw walLevelTooLow(label, "minimal");
  if (facts?.may_replicate !== "t") throw missingReplication(label, user);
  return { createRestorePoint: facts.restore_point === "t", switchWal: facts.switch_wal === "t" };
}

/** Says which GRANTs are missing for an archive that ends in a named point. */
export function warnOfMissingGrants(connection: Connection, abilities: Abilities, context: Context): void {
  const { user, database } = connection.endpoint;
  const functions = [
    ...(abilities.createRestorePoint ? [] : ["pg_create_restore_point(text)"]),
    ...(abilities.switchWal ? [] : ["pg_switch_wal()"]),
  ];
  if (functions.length === 0) return;
  context.log.warning(
    `The role "${user}" may not end the archive in a named point, so the target "latest" is not possible: run GRANT EXECUTE ON FUNCTION ${functions.join(", ")} TO ${quoteName(user)} in the database "${database}".`,
  );
}
