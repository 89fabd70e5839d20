import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { appendFile, chmod, chown, cp, mkdir, open, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { freePort } from "./free-port.ts";
import { type GuardedFolder, guardedFolder, type User } from "./guard.ts";
import { availableMajors, binariesFor, serverUser } from "./postgres-binaries.ts";
import { confLines, initialize, outsideOf, type PostgresOptions } from "./postgres-cluster.ts";

/** A real PostgreSQL of our own, with its own data folder and port. It never outlives this process. */
export interface TestPostgres extends AsyncDisposable {
  readonly major: number;
  /** libpq URI of the superuser, for the database `postgres`. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  readonly password: string;
  readonly dataDir: string;
  readonly binDir: string;
  readonly logFile: string;
  /** Whom the server runs as when this process is root. */
  readonly user: User | undefined;
  /** Runs one statement on a connection of its own and returns its rows. */
  query<Row extends pg.QueryResultRow = pg.QueryResultRow>(sql: string, values?: unknown[]): Promise<Row[]>;
  /** A connection as superuser; ended by you, or with the server. */
  client(database?: string): Promise<pg.Client>;
  /** The server dies at once, like in a power cut; its data folder stays. */
  kill9(): Promise<void>;
  /** Fast shutdown; its data folder stays. */
  stop(): Promise<void>;
  /** Stops the server if it runs, adds settings to its configuration, and starts it on the same port. */
  restart(settings?: Readonly<Record<string, string | number | boolean>>): Promise<void>;
  /** Kills the server and removes its data folder. */
  wipe(): Promise<void>;
}

/** Makes a cluster and starts it. Takes about a second and a half. */
export async function startPostgres(options: PostgresOptions = {}): Promise<TestPostgres> {
  const major = options.major ?? availableMajors().at(-1);
  if (major === undefined) throw new Error("npm installed no PostgreSQL for this kind of machine.");
  const user = serverUser();
  const binDir = await binariesFor(major, user);
  const folder = await guardedFolder(`drillbook-pg${major}-`, user);
  const password = options.password ?? randomBytes(12).toString("hex");
  try {
    await initialize(folder.path, binDir, user, password, options);
    const server = new Server({ major, user, binDir, folder, password, port: await freePort() });
    await server.start(true);
    return server;
  } catch (error) {
    await folder.remove();
    throw error;
  }
}

/**
 * Makes a streaming standby of a server, which is stopped for a moment so that its data folder can be copied. Both have
 * the same password. Tablespaces are not copied.
 */
export async function startStandby(
  primary: TestPostgres,
  settings: PostgresOptions["settings"] = {},
): Promise<TestPostgres> {
  const { major, user, binDir, password } = primary;
  const folder = await guardedFolder(`drillbook-pg${major}-`, user);
  try {
    const server = new Server({ major, user, binDir, folder, password, port: await freePort() });
    await primary.stop();
    await cp(primary.dataDir, server.dataDir, { recursive: true, preserveTimestamps: true });
    await primary.restart();
    await writeFile(join(server.dataDir, "standby.signal"), "");
    const conninfo = `host=127.0.0.1 port=${primary.port} user=postgres password=${password}`;
    const lines = confLines({
      primary_conninfo: conninfo,
      wal_retrieve_retry_interval: "100ms",
      ...settings,
    });
    await appendFile(join(server.dataDir, "postgresql.conf"), lines);
    if (user !== undefined) execFileSync("chown", ["-R", `${user.uid}:${user.gid}`, server.dataDir]);
    await chmod(server.dataDir, 0o700);
    await server.start(true);
    return server;
  } catch (error) {
    await folder.remove();
    throw error;
  }
}

class Server implements TestPostgres {
  readonly major: number;
  readonly host = "127.0.0.1";
  readonly user: User | undefined;
  readonly binDir: string;
  readonly password: string;
  readonly dataDir: string;
  readonly logFile: string;
  port: number;
  #folder: GuardedFolder;
  #process: ChildProcess | undefined;
  #clients = new Set<pg.Client>();

  constructor(facts: {
    major: number;
    user: User | undefined;
    binDir: string;
    folder: GuardedFolder;
    password: string;
    port: number;
  }) {
    this.major = facts.major;
    this.user = facts.user;
    this.binDir = facts.binDir;
    this.password = facts.password;
    this.port = facts.port;
    this.#folder = facts.folder;
    this.dataDir = join(facts.folder.path, "data");
    this.logFile = join(facts.folder.path, "log");
  }

  get url(): string {
    return `postgres://postgres:${encodeURIComponent(this.password)}@127.0.0.1:${this.port}/postgres`;
  }

  get #outside(): string {
    return outsideOf(this.#folder.path);
  }

  /** `anyPort`: the port was only free a moment ago, so take another when somebody was faster. */
  async start(anyPort = false): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#launch();
        return;
      } catch (error) {
        await this.kill9();
        const log = await readFile(this.logFile, "utf8").catch(() => "");
        const taken = log.includes("Address already in use");
        if (!taken || attempt === 5) {
          throw new Error(`PostgreSQL ${this.major} did not start:\n${log.slice(-2000)}`, { cause: error });
        }
        if (anyPort) this.port = await freePort();
        else await sleep(200);
        await rm(this.logFile);
      }
    }
  }

  async #launch(): Promise<void> {
    const log = await open(this.logFile, "a");
    const args = existsSync(this.#outside) ? ["-c", `config_file=${this.#outside}`] : ["-D", this.dataDir];
    const server = spawn(join(this.binDir, "postgres"), [...args, "-p", String(this.port)], {
      ...this.user,
      cwd: "/",
      detached: true,
      stdio: ["ignore", log.fd, log.fd],
    });
    this.#process = server;
    await log.close();
    server.unref();
    server.once("error", () => undefined);
    const deadline = Date.now() + 60_000;
    while (Date.now() < deadline) {
      if (server.exitCode !== null || server.signalCode !== null) throw new Error("The server ended.");
      try {
        await (await this.client()).end();
        return;
      } catch {
        await sleep(50);
      }
    }
    throw new Error("The server takes no connections.");
  }

  async query<Row extends pg.QueryResultRow>(sql: string, values?: unknown[]): Promise<Row[]> {
    const client = await this.client();
    try {
      return (await client.query<Row>(sql, values)).rows;
    } finally {
      await client.end();
    }
  }

  async client(database = "postgres"): Promise<pg.Client> {
    const client = new pg.Client({
      host: this.host,
      port: this.port,
      user: "postgres",
      password: this.password,
      database,
    });
    // A server that is killed on purpose ends its connections: no reason to end the test process too.
    client.on("error", () => undefined);
    client.once("end", () => this.#clients.delete(client));
    await client.connect();
    this.#clients.add(client);
    return client;
  }

  async kill9(): Promise<void> {
    await this.#end("SIGKILL");
  }

  async stop(): Promise<void> {
    await this.#end("SIGINT");
  }

  async restart(settings: Readonly<Record<string, string | number | boolean>> = {}): Promise<void> {
    await this.stop();
    const inside = join(this.dataDir, "postgresql.conf");
    await appendFile(existsSync(this.#outside) ? this.#outside : inside, confLines(settings));
    await this.start();
  }

  async wipe(): Promise<void> {
    await this.kill9();
    // Its children notice the death of the postmaster a moment later and may still write.
    await rm(this.dataDir, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
    await mkdir(this.dataDir, { mode: 0o700 });
    if (this.user !== undefined) await chown(this.dataDir, this.user.uid, this.user.gid);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled([...this.#clients].map((client) => client.end()));
    await this.#end("SIGQUIT");
    await this.#folder.remove();
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const server = this.#process;
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return;
    server.ref();
    const ended = once(server, "exit");
    server.kill(signal);
    await ended;
  }
}
