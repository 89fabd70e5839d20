import { AbortedError, codeOf, DefectError, messageOf, ToolError, UserError } from "../../errors.ts";
import { ObjectMissing } from "../../stores/store.ts";
import type { Endpoint } from "./uri.ts";

/** The server no longer has WAL that was asked for. */
export class WalRemovedError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "WalRemovedError";
  }
}

/** What the server says of an error, beyond its message. */
interface ServerError extends Error {
  readonly code: string;
  readonly detail?: string | undefined;
}

function isServerError(error: unknown): error is ServerError {
  return error instanceof Error && /^[0-9A-Z]{5}$/.test(codeOf(error) ?? "") && "severity" in error;
}

/**
 * One sentence for an error of a connection to PostgreSQL; `doing` completes "… while <doing>". What already is a
 * sentence passes unchanged. The result never holds the password: it is made of names and of the server's words.
 */
export function explain(error: unknown, endpoint: Endpoint, doing: string): Error {
  if (
    error instanceof UserError ||
    error instanceof ToolError ||
    error instanceof DefectError ||
    error instanceof AbortedError ||
    error instanceof WalRemovedError ||
    error instanceof ObjectMissing
  ) {
    return error;
  }
  if (isServerError(error)) return explainServer(error, endpoint, doing);
  return explainSocket(error, endpoint, doing);
}

/** SQLSTATE codes are those of the manual's appendix "PostgreSQL Error Codes". */
function explainServer(error: ServerError, endpoint: Endpoint, doing: string): Error {
  const { label, user, database } = endpoint;
  const said = oneLine(error.message);
  const options = { cause: error };
  switch (error.code) {
    case "28P01":
      return new UserError(
        `PostgreSQL at ${label} refused the password of "${user}": correct the password in the connection.`,
        options,
      );
    case "28000":
      return explainAuthorization(error, endpoint);
    case "3D000":
      return new UserError(
        `PostgreSQL at ${label} has no database "${database}": correct the database in the connection.`,
        options,
      );
    case "42501":
      return explainPrivilege(error, endpoint, doing);
    case "53300":
      return new ToolError(
        said.includes("max_wal_senders")
          ? `PostgreSQL at ${label} has no free WAL sender (${said}): raise max_wal_senders, which needs a restart, or end another replication connection.`
          : `PostgreSQL at ${label} accepts no further connection (${said}): raise max_connections or end other sessions.`,
        options,
      );
    case "53400":
      return new ToolError(
        `PostgreSQL at ${label} has no free replication slot (${said}): drop an unused one or raise max_replication_slots, which needs a restart.`,
        options,
      );
    case "53100":
      return new ToolError(
        `The disk of PostgreSQL at ${label} is full (${said}): free space there first.`,
        options,
      );
    case "53200":
      return new ToolError(`PostgreSQL at ${label} is out of memory while ${doing}: ${said}.`, options);
    case "55006":
      return new ToolError(
        `The replication slot is in use: ${said}. Wait for the other run to end, or end that process with pg_terminate_backend.`,
        options,
      );
    case "55000":
      return explainState(error, endpoint, doing);
    case "40001":
      if (!said.includes("conflict with recovery")) break;
      return new ToolError(
        `The standby at ${label} cancelled the work while ${doing}, because it stood in the way of its replay (${said}): set hot_standby_feedback = on there, or raise its max_standby_streaming_delay.`,
        options,
      );
    case "55P03":
    case "57014":
      return new ToolError(`PostgreSQL at ${label} cancelled the work while ${doing}: ${said}.`, options);
    case "57P01":
    case "57P02":
      return new ToolError(
        `PostgreSQL at ${label} ended the connection while ${doing} (${said}): run the backup again when the server is up.`,
        options,
      );
    case "57P03":
      return new ToolError(
        `PostgreSQL at ${label} is not ready (${said}): run the backup again when the server is up.`,
        options,
      );
  }
  // With or without the code of a missing file.
  if (/requested WAL segment \S+ has already been removed/.test(said)) return new WalRemovedError(said);
  return new ToolError(
    `PostgreSQL at ${label} failed while ${doing}: ${said} (SQLSTATE ${error.code}).`,
    options,
  );
}

function explainAuthorization(error: ServerError, { label, user }: Endpoint): Error {
  const said = oneLine(error.message);
  const options = { cause: error };
  if (/role ".*" does not exist/.test(said)) {
    return new UserError(
      `PostgreSQL at ${label} has no role "${user}": correct the user in the connection, or create the role.`,
      options,
    );
  }
  if (/no pg_hba\.conf entry|pg_hba\.conf rejects/.test(said)) {
    const replication = said.includes("replication connection");
    const line = replication
      ? `host replication ${user} <address> scram-sha-256`
      : `host all ${user} <address> scram-sha-256`;
    return new UserError(
      `PostgreSQL at ${label} does not let "${user}" in (${said}): add a line such as "${line}" to pg_hba.conf and reload the server.`,
      options,
    );
  }
  return new UserError(`PostgreSQL at ${label} does not let "${user}" in: ${said}.`, options);
}

function explainPrivilege(error: ServerError, { label, user }: Endpoint, doing: string): Error {
  const said = oneLine(error.message);
  const options = { cause: error };
  // Version 15 says "must be superuser or replication role to start walsender", later ones "permission denied to
  // start WAL sender".
  if (
    /wal ?sender|replication role|replication slots|REPLICATION attribute/i.test(
      `${said} ${error.detail ?? ""}`,
    )
  ) {
    return missingReplication(label, user, error);
  }
  const table = /permission denied for (?:table|view|schema) (\S+)/.exec(said)?.[1];
  if (table !== undefined) {
    return new UserError(
      `"${user}" may not read ${table} at ${label} (${said}): GRANT SELECT ON ${table} TO ${quoteName(user)}, and USAGE on its schema.`,
      options,
    );
  }
  return new UserError(`"${user}" lacks a privilege at ${label} while ${doing}: ${said}.`, options);
}

/** The role may not replicate. */
export function missingReplication(label: string, user: string, cause?: unknown): UserError {
  return new UserError(
    `The role "${user}" at ${label} may not take backups: run ALTER ROLE ${quoteName(user)} REPLICATION as a superuser.`,
    { cause },
  );
}

function explainState(error: ServerError, { label }: Endpoint, doing: string): Error {
  const said = oneLine(error.message);
  const options = { cause: error };
  if (/wal_level|WAL level/.test(said)) return walLevelTooLow(label, "minimal", error);
  if (said.includes("max_replication_slots")) {
    return new ToolError(
      `PostgreSQL at ${label} allows no replication slots: set max_replication_slots to at least 1 and restart it.`,
      options,
    );
  }
  if (/logical (replication )?slot/.test(said)) {
    return new UserError(
      `The replication slot at ${label} is a logical one (${said}): name another slot in wal.slot, it is created when absent.`,
      options,
    );
  }
  if (said.includes("was promoted during online backup")) {
    return new ToolError(
      `The standby at ${label} was promoted during the base backup, which is of no use then: run the backup again.`,
      options,
    );
  }
  if (said.includes("full_page_writes=off was replayed")) {
    return new ToolError(
      `The standby at ${label} allows no base backup, because its primary ran with full_page_writes = off: set it to on there, run CHECKPOINT on the primary, and take the backup again.`,
      options,
    );
  }
  if (/can no longer (get changes|access)|invalidated/.test(said)) return new WalRemovedError(said);
  return new ToolError(`PostgreSQL at ${label} failed while ${doing}: ${said}.`, options);
}

/** WAL does not hold what recovery needs. */
export function walLevelTooLow(label: string, level: string, cause?: unknown): UserError {
  return new UserError(
    `PostgreSQL at ${label} runs with wal_level=${level}, which allows no backup: set wal_level = replica and max_wal_senders of at least 4, and restart the server.`,
    { cause },
  );
}

const TLS_CODES =
  /^(ERR_TLS|ERR_SSL|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|CERT_|HOSTNAME_MISMATCH|INVALID_CA|EPROTO)/;

function explainSocket(error: unknown, { label, host, user }: Endpoint, doing: string): Error {
  const code = codeOf(error) ?? "";
  const said = oneLine(messageOf(error));
  const options = { cause: error };
  if (code === "ECONNREFUSED") {
    return new ToolError(
      `Nothing listens at ${label}: check host and port, and that PostgreSQL runs.`,
      options,
    );
  }
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") {
    return new ToolError(
      `The host name "${host}" cannot be resolved: check the host in the connection.`,
      options,
    );
  }
  if (code === "ENOENT" || (code === "EACCES" && host.startsWith("/"))) {
    return new ToolError(
      code === "ENOENT"
        ? `There is no PostgreSQL socket ${label}: check folder and port, and that PostgreSQL runs.`
        : `The PostgreSQL socket ${label} may not be opened by this user: check the rights of its folder.`,
      options,
    );
  }
  if (
    code === "EHOSTUNREACH" ||
    code === "ENETUNREACH" ||
    code === "ETIMEDOUT" ||
    said === "timeout expired"
  ) {
    return new ToolError(
      `PostgreSQL at ${label} does not answer: check host, port and firewall between this machine and the server.`,
      options,
    );
  }
  if (said === "The server does not support SSL connections") {
    return new UserError(
      `PostgreSQL at ${label} has no TLS, but the connection's sslmode demands it: turn ssl on at the server, or use another sslmode.`,
      options,
    );
  }
  if (TLS_CODES.test(code) || said.includes("establishing an SSL connection")) {
    return new ToolError(
      `The TLS connection to PostgreSQL at ${label} failed (${said}): check the server's certificate, sslmode and sslrootcert.`,
      options,
    );
  }
  if (/password must be a (non-empty )?string/.test(said)) {
    return new UserError(
      `PostgreSQL at ${label} asks for the password of "${user}", but the connection has none.`,
      options,
    );
  }
  if (code === "ECONNRESET" || code === "EPIPE" || said.startsWith("Connection terminated")) {
    return new ToolError(
      `The connection to PostgreSQL at ${label} broke while ${doing}: check the server's log, and run the backup again.`,
      options,
    );
  }
  return error instanceof Error ? error : new Error(said);
}

/** `name`, quoted where SQL needs it, for statements that people copy. */
export function quoteName(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").replace(/\.$/, "").trim();
}
