import pg from "pg";
import { AbortedError, codeOf, messageOf, ToolError } from "../../errors.ts";

/** Where a scratch server listens, and as whom we come. */
export interface ScratchAddress {
  /** The socket's folder. */
  readonly socket: string;
  readonly port: number;
  readonly user: string;
  readonly major: number;
}

/** A private connection to the scratch server as its bootstrap superuser. */
export interface Session {
  /** Runs exactly one statement; values come as the server writes them. */
  query(text: string, values?: readonly (string | null)[]): Promise<(string | null)[][]>;
  /** The first `count` rows of one statement, or fewer; when there may be more, only {@link close} may follow. */
  firstRows(text: string, count: number): Promise<(string | null)[][]>;
  close(): Promise<void>;
}

const CONNECT_MS = 15_000;

/**
 * Connects over the socket. Settings of the role or the database that came with the backup (preloaded libraries,
 * login triggers, time-outs) do not apply. Throws the `pg` error when the server refuses.
 */
export async function openSession(
  address: ScratchAddress,
  database: string,
  signal: AbortSignal,
): Promise<Session> {
  if (signal.aborted) throw new AbortedError();
  const settings = {
    session_preload_libraries: "",
    local_preload_libraries: "",
    default_transaction_read_only: "off",
    statement_timeout: "0",
    idle_in_transaction_session_timeout: "0",
    TimeZone: "UTC",
    DateStyle: "ISO",
    ...(address.major >= 17 ? { event_triggers: "off" } : {}),
  };
  const client = new pg.Client({
    host: address.socket,
    port: address.port,
    user: address.user,
    database,
    ssl: false,
    // An explicit value, so that pg looks neither into PGPASSWORD nor for a password file.
    password: "",
    application_name: "drillbook",
    connectionTimeoutMillis: CONNECT_MS,
    options: Object.entries(settings)
      .map(([name, value]) => `-c ${name}=${value}`)
      .join(" "),
    types: { getTypeParser: () => (value: string) => value },
  });
  // Without a listener an error between two statements would end the process.
  client.on("error", () => undefined);
  const cut = () => void client.end().catch(() => undefined);
  signal.addEventListener("abort", cut, { once: true });
  try {
    await client.connect();
  } catch (error) {
    signal.removeEventListener("abort", cut);
    await client.end().catch(() => undefined);
    if (signal.aborted) throw new AbortedError();
    throw error;
  }
  return {
    firstRows(text, count) {
      return new Promise((resolve, reject) => {
        const rows: (string | null)[][] = [];
        const config = { text, values: [], rowMode: "array", queryMode: "extended", rows: count };
        const query = new pg.Query<(string | null)[]>(config);
        // With a listener pg keeps no rows itself, so a table of any size fits.
        query.on("row", (row) => {
          if (rows.length < count) rows.push(row);
          if (rows.length === count) resolve(rows);
        });
        query.on("end", () => resolve(rows));
        query.on("error", (error) => reject(signal.aborted ? new AbortedError() : error));
        client.query(query);
      });
    },
    async query(text, values) {
      // The extended protocol takes one statement only: a check cannot end its read-only transaction.
      const config = { text, values: [...(values ?? [])], rowMode: "array", queryMode: "extended" } as const;
      try {
        const result = await client.query<(string | null)[]>(config);
        return result.rows;
      } catch (error) {
        if (signal.aborted) throw new AbortedError();
        throw error;
      }
    },
    async close() {
      signal.removeEventListener("abort", cut);
      await client.end().catch(() => undefined);
    },
  };
}

/** The first of these databases that exists; a backup may be older than the source's database. */
export async function openAnySession(
  address: ScratchAddress,
  databases: readonly string[],
  signal: AbortSignal,
): Promise<Session> {
  let refusal: unknown;
  for (const database of databases) {
    try {
      return await openSession(address, database, signal);
    } catch (error) {
      // 3D000: no such database; 55000: it takes no connections.
      if (codeOf(error) !== "3D000" && codeOf(error) !== "55000") throw refused(error);
      refusal = error;
    }
  }
  throw refused(refusal);
}

function refused(error: unknown): Error {
  if (error instanceof AbortedError) return error;
  return new ToolError(`The recovered server refuses our connection: ${messageOf(error)}.`, { cause: error });
}
