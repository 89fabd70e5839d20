import pg from "pg";
import type { Context } from "../../context.ts";
import { AbortedError, ToolError } from "../../errors.ts";
import { formatDuration } from "../../values.ts";
import { explain } from "./errors.ts";
import type { Endpoint, TlsMode } from "./uri.ts";
import { type CopySession, startCopy, type WireClient } from "./wire.ts";

/** Column values as the server writes them; null is SQL's NULL. */
export type Row = Readonly<Record<string, string | null>>;

/** A connection to the source. Every failure is an error of one sentence; the context's signal closes it at once. */
export interface Connection {
  readonly endpoint: Endpoint;
  /** Runs one statement; `doing` completes the sentence of an error. Values are possible for `sql` only. */
  query(doing: string, text: string, values?: readonly unknown[]): Promise<Row[]>;
  /** The same, with rows in the order of the columns, which need no names. */
  list(doing: string, text: string, values?: readonly unknown[]): Promise<(string | null)[][]>;
  /** Runs a replication command that copies, such as BASE_BACKUP or START_REPLICATION. */
  copy(doing: string, command: string): CopySession;
  /** Ends the session politely when nothing runs on it, else cuts it. Never throws. */
  close(): Promise<void>;
}

const TEXT = { getTypeParser: () => (value: string) => value };
const CLOSE_TIMEOUT_MS = 2_000;
/** A server that hangs in the middle of a base backup sends nothing, and TCP finds nothing wrong with that. */
const SILENCE_MS = 10 * 60_000;

/**
 * Connects to the source. `replication`: as a physical WAL sender, which the server counts against
 * `max_wal_senders` and looks up in pg_hba.conf as the database "replication".
 */
export async function connect(
  endpoint: Endpoint,
  mode: "sql" | "replication",
  context: Context,
  silenceMs = SILENCE_MS,
): Promise<Connection> {
  if (context.signal.aborted) throw new AbortedError();
  if (endpoint.password !== undefined) context.mask(endpoint.password);
  try {
    return await open(endpoint, endpoint.tls, mode, context, silenceMs);
  } catch (error) {
    const noTls = error instanceof Error && error.message === "The server does not support SSL connections";
    if (!noTls || endpoint.tls.kind !== "on" || !endpoint.tls.fallback) {
      throw explain(error, endpoint, "connecting");
    }
  }
  try {
    return await open(endpoint, { kind: "off" }, mode, context, silenceMs);
  } catch (error) {
    throw explain(error, endpoint, "connecting");
  }
}

async function open(
  endpoint: Endpoint,
  tls: TlsMode,
  mode: "sql" | "replication",
  context: Context,
  silenceMs: number,
): Promise<Connection> {
  const config: pg.ClientConfig & { replication?: string } = {
    host: endpoint.host,
    port: endpoint.port,
    user: endpoint.user,
    database: endpoint.database,
    // A function, so that pg neither reads ~/.pgpass nor shows the password in a dump of the client.
    password: () => endpoint.password as string,
    ssl: tls.kind === "on" ? { ...tls.options } : false,
    application_name: "drillbook",
    connectionTimeoutMillis: endpoint.connectTimeoutSeconds * 1000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 30_000,
    types: TEXT,
    ...(mode === "replication" ? { replication: "true" } : {}),
  };
  const client = new pg.Client(config);
  const wire = client as unknown as WireClient;
  // Without a listener an error that arrives between two commands would end the process.
  let broken: Error | undefined;
  client.on("error", (error: Error) => {
    broken ??= error;
  });
  const ended = new Promise<void>((resolve) => client.once("end", resolve));
  const abort = () => wire.connection.stream.destroy(new AbortedError());
  context.signal.addEventListener("abort", abort, { once: true });

  function translate(error: unknown, doing: string): Error {
    if (context.signal.aborted) return new AbortedError();
    return explain(error, endpoint, doing);
  }

  async function translated<T>(doing: string, work: () => Promise<T>): Promise<T> {
    if (broken !== undefined) throw translate(broken, doing);
    try {
      return await work();
    } catch (error) {
      throw translate(error, doing);
    }
  }

  async function close(): Promise<void> {
    context.signal.removeEventListener("abort", abort);
    const timer = setTimeout(() => wire.connection.stream.destroy(), CLOSE_TIMEOUT_MS);
    client.end().catch(() => undefined);
    await ended;
    clearTimeout(timer);
  }

  try {
    await client.connect();
  } catch (error) {
    context.signal.removeEventListener("abort", abort);
    wire.connection.stream.destroy();
    if (context.signal.aborted) throw new AbortedError();
    throw error;
  }
  if (mode === "replication") {
    wire.connection.stream.setTimeout(silenceMs, () =>
      wire.connection.stream.destroy(
        new ToolError(
          `PostgreSQL at ${endpoint.label} sent nothing for ${formatDuration(silenceMs / 1000)}, so the connection was given up: look whether the server hangs, then run the action again.`,
        ),
      ),
    );
  }
  let copying: CopySession | undefined;

  return {
    endpoint,
    async query(doing, text, values): Promise<Row[]> {
      return await translated(doing, async () => {
        const parameters = values ? [...values] : undefined;
        return (await client.query<Record<string, string | null>>(text, parameters)).rows;
      });
    },
    async list(doing, text, values): Promise<(string | null)[][]> {
      return await translated(doing, async () => {
        const parameters = values ? { values: [...values] } : {};
        return (await client.query<(string | null)[]>({ text, rowMode: "array", ...parameters })).rows;
      });
    },
    copy(doing, command): CopySession {
      if (broken !== undefined) throw translate(broken, doing);
      copying = startCopy(wire, command, (error) => translate(error, doing));
      return copying;
    },
    async close(): Promise<void> {
      // A copy that still runs would be drained by a polite end: cut it.
      if (copying !== undefined && !copying.finished()) wire.connection.stream.destroy();
      await close();
    },
  };
}
