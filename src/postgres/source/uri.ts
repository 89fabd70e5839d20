import { readFileSync } from "node:fs";
import { userInfo } from "node:os";
import type { ConnectionOptions } from "node:tls";
import { messageOf, UserError } from "../../errors.ts";

/** A server to connect to, read from a libpq URI. Never print it: use {@link Endpoint.label}. */
export interface Endpoint {
  /** A host name, an address, or the folder of a Unix socket. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  readonly password: string | undefined;
  readonly tls: TlsMode;
  readonly connectTimeoutSeconds: number;
  /** For messages: `db.example.com:5432`. */
  readonly label: string;
}

/** `false`: plain. `fallback`: plain when the server has no TLS, as libpq's `prefer` does. */
export type TlsMode =
  | { readonly kind: "off" }
  | { readonly kind: "on"; readonly options: ConnectionOptions; readonly fallback: boolean };

const URI = /^postgres(?:ql)?:\/\/(?:([^/?#]*)@)?([^@/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/;
const SHAPE = "write it as postgresql://user:password@host:5432/database";
const DEFAULT_TIMEOUT_SECONDS = 15;

/**
 * Reads a libpq URI, with sockets (`?host=/run/postgresql`) and `sslmode` as libpq understands them. `PGUSER`,
 * `PGPASSWORD` and `PGSSLMODE` of `env` stand in for what the URI leaves out. Throws a {@link UserError} that does
 * not repeat the URI.
 */
export function parseUri(text: string, env: Readonly<Record<string, string | undefined>>): Endpoint {
  const match = URI.exec(text.trim());
  if (match === null) throw new UserError(`The connection is not a PostgreSQL URI: ${SHAPE}.`);
  const [, userInfoPart = "", hostPart = "", databasePart = "", query = ""] = match;
  const parameters = new URLSearchParams(query);
  const colon = userInfoPart.indexOf(":");
  const userPart = colon < 0 ? userInfoPart : userInfoPart.slice(0, colon);
  const passwordPart = colon < 0 ? "" : userInfoPart.slice(colon + 1);

  const { host, port } = readHost(hostPart, parameters);
  const user = parameters.get("user") || decode(userPart, "user") || env.PGUSER || userInfo().username;
  const password = parameters.get("password") || decode(passwordPart, "password") || env.PGPASSWORD;
  const isSocket = host.startsWith("/");
  return {
    host,
    port,
    user,
    database: parameters.get("dbname") || decode(databasePart, "database") || user,
    password: password === "" ? undefined : password,
    tls: isSocket ? { kind: "off" } : readTls(parameters, env),
    connectTimeoutSeconds: readTimeout(parameters.get("connect_timeout")),
    label: isSocket ? `${host}/.s.PGSQL.${port}` : `${host.includes(":") ? `[${host}]` : host}:${port}`,
  };
}

function decode(text: string, part: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new UserError(
      `The ${part} in the connection has a "%" that is not part of a percent-encoding: write it as %25.`,
    );
  }
}

function readHost(part: string, parameters: URLSearchParams): { host: string; port: number } {
  const match = /^(\[[^\]]*\]|[^:]*)(?::(\d*))?$/.exec(part);
  const host = parameters.get("host") || decode((match?.[1] ?? "").replace(/^\[|\]$/g, ""), "host");
  const portText = parameters.get("port") || match?.[2] || "5432";
  const port = Number(portText);
  if (match === null || part.includes(",") || host.includes(",")) {
    throw new UserError(`The connection must name one host and one port: ${SHAPE}.`);
  }
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new UserError(`The connection's port "${portText}" is not a port: use a number from 1 to 65535.`);
  }
  if (host === "") {
    throw new UserError(
      `The connection names no host: ${SHAPE}, or with ?host=/run/postgresql for a socket.`,
    );
  }
  return { host, port };
}

function readTimeout(text: string | null): number {
  const seconds = Number(text ?? "");
  return Number.isFinite(seconds) && seconds > 0 ? seconds : DEFAULT_TIMEOUT_SECONDS;
}

const SSL_MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full", "no-verify"];

function readTls(parameters: URLSearchParams, env: Readonly<Record<string, string | undefined>>): TlsMode {
  const mode = parameters.get("sslmode") || env.PGSSLMODE || "prefer";
  if (!SSL_MODES.includes(mode)) {
    throw new UserError(`The connection's sslmode "${mode}" is none: use one of ${SSL_MODES.join(", ")}.`);
  }
  if (mode === "disable") return { kind: "off" };
  const rootCert = parameters.get("sslrootcert");
  const ca =
    rootCert === null || rootCert === "system" ? undefined : readCertificate("sslrootcert", rootCert);
  const options: ConnectionOptions = {
    ...(ca === undefined ? {} : { ca }),
    ...readKeyPair(parameters),
  };
  if (mode === "verify-full") return { kind: "on", options, fallback: false };
  // With a root certificate libpq treats `require` like `verify-ca`: the chain must hold, the name may differ.
  if (mode === "verify-ca" || (mode === "require" && rootCert !== null)) {
    return { kind: "on", options: { ...options, checkServerIdentity: () => undefined }, fallback: false };
  }
  const fallback = mode === "prefer" || mode === "allow";
  return { kind: "on", options: { ...options, rejectUnauthorized: false }, fallback };
}

function readKeyPair(parameters: URLSearchParams): ConnectionOptions {
  const cert = parameters.get("sslcert");
  const key = parameters.get("sslkey");
  if (cert === null || key === null) return {};
  return { cert: readCertificate("sslcert", cert), key: readCertificate("sslkey", key) };
}

function readCertificate(parameter: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new UserError(`The connection's ${parameter} cannot be read: ${messageOf(cause)}.`, { cause });
  }
}
