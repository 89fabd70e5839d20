import { UserError } from "../../errors.ts";
import type { Connection } from "./connection.ts";
import { missingReplication, walLevelTooLow } from "./errors.ts";

/** What the role of a connection may do beyond reading, on a server that writes WAL. */
export interface Abilities {
  readonly createRestorePoint: boolean;
  readonly switchWal: boolean;
}

/** What the source is, and what our role may do there: on a standby nobody may write WAL. */
export interface SourceRole {
  readonly standby: boolean;
  readonly abilities: Abilities;
}

const OLDEST_MAJOR = 14;
const NEWEST_MAJOR = 18;

/** Sessions read times and numbers in one spelling and are not ended by time limits of the role. */
export const SESSION = [
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
export async function checkSource(connection: Connection): Promise<SourceRole> {
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
  if (facts?.wal_level === "minimal") throw walLevelTooLow(label, "minimal");
  if (facts?.may_replicate !== "t") throw missingReplication(label, user);
  const standby = facts.standby === "t";
  const abilities = {
    createRestorePoint: !standby && facts.restore_point === "t",
    switchWal: !standby && facts.switch_wal === "t",
  };
  return { standby, abilities };
}
