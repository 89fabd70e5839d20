import type { Context } from "../../context.ts";
import { ToolError, UserError } from "../../errors.ts";
import type { WriteMarker } from "../marker/write-marker.ts";
import type { Connection } from "./connection.ts";
import { quoteName } from "./errors.ts";
import { type Abilities, SESSION } from "./roles.ts";
import { type ClusterIdentity, need } from "./source-facts.ts";

/** The server on which a run's end is marked, and what our role may do there. */
export interface Writer {
  readonly sql: Connection;
  readonly abilities: Abilities;
  /** Writes the marker around each restore point; undefined when the runbook wants none. */
  readonly writeMarker?: WriteMarker | undefined;
}

/**
 * Checks that a connection leads to the primary of the standby that is backed up, and makes the session fit. The role
 * needs no right to replicate there. Throws a {@link UserError} when it is another server.
 */
export async function checkPrimary(
  sql: Connection,
  standby: ClusterIdentity,
  label: string,
): Promise<Writer> {
  const primary = sql.endpoint.label;
  await sql.query("preparing the session", SESSION);
  const [facts] = await sql.query(
    "looking whether it is the primary",
    `SELECT pg_is_in_recovery() AS standby, (SELECT system_identifier FROM pg_control_system()) AS cluster,
       has_function_privilege('pg_create_restore_point(text)', 'EXECUTE') AS restore_point,
       has_function_privilege('pg_switch_wal()', 'EXECUTE') AS switch_wal`,
  );
  if (need(facts, "cluster") !== standby.systemIdentifier) {
    throw new UserError(
      `The key primary names PostgreSQL at ${primary}, which is the cluster ${facts?.cluster}, but the standby at ${label} is of the cluster ${standby.systemIdentifier}: name its own primary.`,
    );
  }
  if (need(facts, "standby") === "t") {
    throw new UserError(
      `The key primary names PostgreSQL at ${primary}, which is a standby too: name the server that writes.`,
    );
  }
  await requireTimeline(sql, standby, label);
  return {
    sql,
    abilities: { createRestorePoint: facts?.restore_point === "t", switchWal: facts?.switch_wal === "t" },
  };
}

/**
 * A point that is marked on another timeline than the one that the standby streams would not be in the archive. Throws
 * a {@link ToolError}.
 */
export async function requireTimeline(
  sql: Connection,
  standby: ClusterIdentity,
  label: string,
): Promise<void> {
  const [row] = await sql.query(
    "reading its timeline",
    "SELECT left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) AS timeline",
  );
  const timeline = Number.parseInt(need(row, "timeline"), 16);
  if (timeline === standby.timeline) return;
  throw new ToolError(
    `The primary at ${sql.endpoint.label} is on timeline ${timeline}, but the standby at ${label} on timeline ${standby.timeline}: run the action again when the standby follows this primary.`,
  );
}

/** Says which GRANTs are missing for an archive that ends in a named point. */
export function warnOfMissingGrants({ sql, abilities }: Writer, context: Context): void {
  const { user, database } = sql.endpoint;
  const functions = [
    ...(abilities.createRestorePoint ? [] : ["pg_create_restore_point(text)"]),
    ...(abilities.switchWal ? [] : ["pg_switch_wal()"]),
  ];
  if (functions.length === 0) return;
  context.log.warning(
    `The role "${user}" may not end the archive in a named point, so the target "latest" is not possible: run GRANT EXECUTE ON FUNCTION ${functions.join(", ")} TO ${quoteName(user)} in the database "${database}".`,
  );
}

/** After a failover the names in the runbook may be those of the former roles. */
export function warnOfUnusedPrimary({ endpoint }: Connection, context: Context): void {
  context.log.warning(
    `PostgreSQL at ${endpoint.label} is a primary itself, so the key primary of the runbook is not used: after a failover let connection name the standby and primary the primary again.`,
  );
}

/** Says what a standby alone cannot do. */
export function warnOfMissingPrimary({ endpoint }: Connection, context: Context): void {
  context.log.warning(
    `PostgreSQL at ${endpoint.label} is a standby and the runbook names no primary, so no run can end in a named point and the targets "latest" and times are not possible: name the primary as the component's key primary. A run waits until the primary has filled the segment it needs, so set archive_timeout there.`,
  );
}
