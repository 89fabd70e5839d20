import { createServer, type Server } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ToolError, UserError } from "../../../../src/errors.ts";
import { backupPostgres } from "../../../../src/postgres/backup.ts";
import { freePort } from "../../../support/free-port.ts";
import { startPostgres, type TestPostgres } from "../../../support/postgres.ts";
import { keysOf, taking } from "../taking.ts";

const SECRET = "s3cret-of-the-test";

describe.each([14, 15, 18])("what PostgreSQL %i refuses is one sentence that says what to do", (major) => {
  let server: TestPostgres;

  beforeAll(async () => {
    server = await startPostgres({
      major,
      settings: { max_wal_senders: 2, max_replication_slots: 2, max_connections: 12 },
      hba: ["host all barred 127.0.0.1/32 reject", "host replication half 127.0.0.1/32 reject"],
    });
    for (const role of ["plain", "backup REPLICATION", "barred REPLICATION", "half REPLICATION"]) {
      const [name, ...attributes] = role.split(" ");
      await server.query(`CREATE ROLE ${name} LOGIN PASSWORD '${SECRET}' ${attributes.join(" ")}`);
    }
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  function url(user: string, options: { password?: string; database?: string; query?: string } = {}): string {
    const { password = SECRET, database = "postgres", query = "" } = options;
    return `postgresql://${user}:${password}@127.0.0.1:${server.port}/${database}${query}`;
  }

  /** The sentence of a backup that is refused, having written nothing. */
  async function refusal(
    connection: string,
    slot = "drillbook",
    kind: "full" | "wal" = "full",
  ): Promise<Error> {
    await using here = await taking({ url: connection, config: { wal: { slot } } });
    const error = await backupPostgres(here.setting, kind, here.context).catch((caught: unknown) => caught);
    if (!(error instanceof UserError || error instanceof ToolError)) throw error;
    expect(error.message).not.toContain(SECRET);
    expect(error.message).not.toContain("\n");
    expect(await keysOf(here.store, "db/backups/")).toEqual([]);
    return error;
  }

  test("a wrong password", async () => {
    const error = await refusal(url("backup", { password: "wrong-one" }));
    expect(error.message).toBe(
      `PostgreSQL at 127.0.0.1:${server.port} refused the password of "backup": correct the password in the connection.`,
    );
    expect(error).toBeInstanceOf(UserError);
  });

  test("no password where one is asked for", async () => {
    const error = await refusal(`postgresql://backup@127.0.0.1:${server.port}/postgres`);
    expect(error.message).toMatch(/asks for the password of "backup", but the connection has none/);
  });

  test("an unknown role", async () => {
    // With scram PostgreSQL hides which roles exist.
    expect((await refusal(url("nobody_such"))).message).toMatch(/refused the password of "nobody_such"/);
  });

  test("an unknown database", async () => {
    expect((await refusal(url("backup", { database: "shop2" }))).message).toMatch(
      /has no database "shop2": correct/,
    );
  });

  test("no line in pg_hba.conf for the role", async () => {
    expect((await refusal(url("barred"))).message).toMatch(
      /does not let "barred" in .*add a line such as "host all barred <address> scram-sha-256" to pg_hba\.conf and reload/,
    );
  });

  test("no line in pg_hba.conf for replication", async () => {
    expect((await refusal(url("half"))).message).toMatch(
      /add a line such as "host replication half <address> scram-sha-256" to pg_hba\.conf and reload/,
    );
  });

  test("TLS demanded from a server without", async () => {
    expect((await refusal(url("backup", { query: "?sslmode=require" }))).message).toMatch(
      /has no TLS, but the connection's sslmode demands it/,
    );
  });

  test("a role without the REPLICATION attribute", async () => {
    expect((await refusal(url("plain"))).message).toBe(
      `The role "plain" at 127.0.0.1:${server.port} may not take backups: run ALTER ROLE plain REPLICATION as a superuser.`,
    );
  });

  test("all WAL senders taken", async () => {
    const [first, second] = [await holdWalSender(server), await holdWalSender(server)];
    try {
      expect((await refusal(url("backup"))).message).toMatch(
        /has no free WAL sender .*: raise max_wal_senders, which needs a restart/,
      );
    } finally {
      await first();
      await second();
    }
  });

  test("all replication slots taken", async () => {
    await server.query(
      "SELECT pg_create_physical_replication_slot('a'), pg_create_physical_replication_slot('b')",
    );
    try {
      expect((await refusal(url("backup"))).message).toMatch(
        /has no free replication slot .*: drop an unused one or raise max_replication_slots/,
      );
    } finally {
      await server.query("SELECT pg_drop_replication_slot('a'), pg_drop_replication_slot('b')");
    }
  });

  test("a slot that another process reads, by its process id", async () => {
    await server.query("SELECT pg_create_physical_replication_slot('busy', true)");
    const release = await holdWalSender(server, "START_REPLICATION SLOT busy PHYSICAL 0/1000000");
    try {
      await expect
        .poll(async () => (await server.query("SELECT active_pid FROM pg_replication_slots"))[0]?.active_pid)
        .toBeTruthy();
      const [row] = await server.query<{ active_pid: number }>("SELECT active_pid FROM pg_replication_slots");
      expect((await refusal(url("backup"), "busy")).message).toMatch(
        new RegExp(`slot "busy" at .* is in use by the server process ${row?.active_pid}: wait`),
      );
    } finally {
      await release();
      await expect
        .poll(async () => (await server.query("SELECT active FROM pg_replication_slots"))[0]?.active)
        .toBe(false);
      await server.query("SELECT pg_drop_replication_slot('busy')");
    }
  });

  test("a pooler or anything else that is not PostgreSQL and hangs up", async () => {
    const listener = await listen();
    try {
      const error = await refusal(
        `postgresql://backup:${SECRET}@127.0.0.1:${portOf(listener)}/postgres?sslmode=disable`,
      );
      expect(error.message).toMatch(
        /The connection to PostgreSQL at 127\.0\.0\.1:\d+ broke while connecting/,
      );
    } finally {
      listener.close();
    }
  });

  test("a host that never answers", async () => {
    const listener = await listen("silent");
    try {
      const error = await refusal(
        `postgresql://backup:${SECRET}@127.0.0.1:${portOf(listener)}/postgres?sslmode=disable&connect_timeout=1`,
      );
      expect(error.message).toMatch(/does not answer: check host, port and firewall/);
    } finally {
      listener.close();
    }
  });

  test("a port where nothing listens", async () => {
    const error = await refusal(`postgresql://backup:${SECRET}@127.0.0.1:${await freePort()}/postgres`);
    expect(error.message).toMatch(
      /Nothing listens at 127\.0\.0\.1:\d+: check host and port, and that PostgreSQL runs/,
    );
  });

  test("a host name that does not exist", async () => {
    const error = await refusal(`postgresql://backup:${SECRET}@no-such-host.invalid/postgres`);
    expect(error.message).toMatch(/The host name "no-such-host\.invalid" cannot be resolved/);
  });

  test("a socket that is not there", async () => {
    const error = await refusal(`postgresql://backup:${SECRET}@/postgres?host=/nowhere`);
    expect(error.message).toMatch(/There is no PostgreSQL socket \/nowhere\/\.s\.PGSQL\.5432/);
  });

  test("wal_level=minimal", async () => {
    await server.restart({ wal_level: "minimal", max_wal_senders: 0 });
    try {
      expect((await refusal(url("backup"))).message).toMatch(
        /runs with wal_level=minimal, which allows no backup: set wal_level = replica and max_wal_senders .* and restart/,
      );
    } finally {
      await server.restart({ wal_level: "replica", max_wal_senders: 2 });
    }
  });

  test("a logical slot", async () => {
    await server.restart({ wal_level: "logical" });
    await server.query("SELECT pg_create_logical_replication_slot('decoder', 'pgoutput')");
    try {
      expect((await refusal(url("backup"), "decoder")).message).toMatch(
        /The replication slot "decoder" at .* is a logical one: name another slot in wal\.slot/,
      );
    } finally {
      await server.query("SELECT pg_drop_replication_slot('decoder')");
      await server.restart({ wal_level: "replica" });
    }
  });

  test("a server that shuts down", async () => {
    await server.stop();
    try {
      expect((await refusal(url("backup"))).message).toMatch(/Nothing listens at/);
    } finally {
      await server.restart();
    }
  });

  test("all connections taken", async () => {
    const clients = [];
    try {
      for (let index = 0; index < 12; index += 1) clients.push(await server.client().catch(() => undefined));
      expect((await refusal(url("backup"))).message).toMatch(
        /accepts no further connection .*: raise max_connections or end other sessions/,
      );
    } finally {
      await Promise.all(clients.map((client) => client?.end()));
    }
  });
});

/** Occupies a WAL sender until the answer is called. */
async function holdWalSender(server: TestPostgres, command?: string): Promise<() => Promise<void>> {
  const { default: pg } = await import("pg");
  const config = { connectionString: server.url, replication: "true" };
  const client = new pg.Client(config);
  client.on("error", () => undefined);
  await client.connect();
  if (command !== undefined) client.query(command).catch(() => undefined);
  const { stream } = (client as unknown as { connection: { stream: { destroy(): void } } }).connection;
  const ended = new Promise<void>((resolve) => client.once("end", resolve));
  return async () => {
    stream.destroy();
    await ended;
  };
}

async function listen(manner: "hang up" | "silent" = "hang up"): Promise<Server> {
  const listener = createServer((socket) => {
    socket.on("error", () => undefined);
    if (manner === "hang up") socket.destroy();
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  return listener;
}

function portOf(listener: Server): number {
  const address = listener.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
