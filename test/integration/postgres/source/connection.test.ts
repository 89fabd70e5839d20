import { execFile, execFileSync } from "node:child_process";
import { chown, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AbortedError, ToolError } from "../../../../src/errors.ts";
import { connect } from "../../../../src/postgres/source/connection.ts";
import { parseUri } from "../../../../src/postgres/source/uri.ts";
import { type TestContext, testContext } from "../../../support/context.ts";
import { startPostgres, type TestPostgres } from "../../../support/postgres.ts";

const run = promisify(execFile);

function hasOpenssl(): boolean {
  try {
    execFileSync("openssl", ["version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

async function answer(
  uri: string,
  context: TestContext,
  sql = "SELECT 1 AS one",
): Promise<string | null | undefined> {
  const connection = await connect(parseUri(uri, {}), "sql", context);
  try {
    return Object.values((await connection.query("asking", sql))[0] ?? {})[0];
  } finally {
    await connection.close();
  }
}

describe("a connection", () => {
  let server: TestPostgres;
  let context: TestContext;

  beforeAll(async () => {
    server = await startPostgres({
      settings: { unix_socket_directories: "/tmp" },
      hba: ["local all all scram-sha-256"],
    });
    context = await testContext();
  });
  afterAll(async () => {
    await context[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  test("goes through a socket", async () => {
    const uri = `postgresql://postgres:${server.password}@/postgres?host=/tmp&port=${server.port}`;
    expect(await answer(uri, context, "SELECT inet_client_addr() AS it")).toBeNull();
  });

  test("names itself, reads plain text and masks its password", async () => {
    expect(await answer(server.url, context, "SELECT current_setting('application_name') AS it")).toBe(
      "drillbook",
    );
    expect(await answer(server.url, context, "SELECT 9007199254740993::int8 AS it")).toBe("9007199254740993");
    expect(context.masked).toContain(server.password);
  });

  test("is closed at once when the run is stopped", async () => {
    await using own = await testContext();
    const connection = await connect(parseUri(server.url, {}), "sql", own);
    const waiting = connection.query("waiting", "SELECT pg_sleep(600)").catch((caught: unknown) => caught);
    own.abort();
    expect(await waiting).toBeInstanceOf(AbortedError);
    await connection.close();
    await expect(connect(parseUri(server.url, {}), "sql", own)).rejects.toThrow(AbortedError);
  });

  test("for replication is given up when the server falls silent", async () => {
    const connection = await connect(parseUri(server.url, {}), "replication", context, 300);
    const [system] = await connection.query("asking", "IDENTIFY_SYSTEM");
    // Idle, it sends a keepalive every half minute only.
    const copy = connection.copy("copying", `START_REPLICATION PHYSICAL ${system?.xlogpos}`);
    const end = (async () => {
      while ((await copy.next()) !== undefined);
    })();
    await expect(end).rejects.toThrow(/sent nothing for 300 ms, so the connection was given up/);
    await connection.close();
  });

  test("whose session is ended by an administrator says so", async () => {
    const connection = await connect(parseUri(server.url, {}), "sql", context);
    const [row] = await connection.query("asking", "SELECT pg_backend_pid() AS pid");
    const waiting = connection.query("waiting", "SELECT pg_sleep(600)").catch((caught: unknown) => caught);
    await server.query("SELECT pg_terminate_backend($1)", [row?.pid]);
    const error = await waiting;
    expect(error).toBeInstanceOf(ToolError);
    expect((error as Error).message).toMatch(
      /ended the connection while waiting \(terminating connection due to administrator command\)/,
    );
    await expect(connection.query("asking", "SELECT 1")).rejects.toThrow(ToolError);
    await connection.close();
  });
});

describe.skipIf(!hasOpenssl())("a connection over TLS", () => {
  let server: TestPostgres;
  let context: TestContext;
  let certificate: string;

  beforeAll(async () => {
    server = await startPostgres({
      hba: ["hostssl all tls_only 127.0.0.1/32 scram-sha-256", "host all tls_only all reject"],
    });
    context = await testContext();
    certificate = join(context.workDir, "server.crt");
    const key = join(context.workDir, "server.key");
    await run("openssl", [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"],
      ...[
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-keyout",
        key,
        "-out",
        certificate,
      ],
    ]);
    for (const name of ["server.crt", "server.key"]) {
      const target = join(server.dataDir, name);
      await writeFile(target, await readFile(join(context.workDir, name)), { mode: 0o600 });
      if (server.user !== undefined) await chown(target, server.user.uid, server.user.gid);
    }
    await server.query("CREATE ROLE tls_only LOGIN PASSWORD 'pw'");
    await server.restart({ ssl: true });
  });
  afterAll(async () => {
    await context[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  const SSL = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

  function uri(query: string, host = "127.0.0.1"): string {
    return `postgresql://tls_only:pw@${host}:${server.port}/postgres${query}`;
  }

  test.each(["", "?sslmode=prefer", "?sslmode=require"])(
    "is made with %j, whoever signed the certificate",
    async (query) => {
      expect(await answer(uri(query), context, SSL)).toBe("t");
    },
  );

  test("is not made with sslmode=disable, and the server's refusal is passed on", async () => {
    await expect(answer(uri("?sslmode=disable"), context)).rejects.toThrow(/does not let "tls_only" in/);
  });

  test("checks the signature with verify-ca, and the name too with verify-full", async () => {
    const root = `&sslrootcert=${certificate}`;
    expect(await answer(uri(`?sslmode=verify-ca${root}`), context, SSL)).toBe("t");
    expect(await answer(uri(`?sslmode=verify-full${root}`, "localhost"), context, SSL)).toBe("t");
    await expect(answer(uri(`?sslmode=verify-full${root}`), context)).rejects.toThrow(
      /The TLS connection to PostgreSQL at .* failed .*check the server's certificate, sslmode and sslrootcert/,
    );
    await expect(answer(uri("?sslmode=verify-full", "localhost"), context)).rejects.toThrow(
      /The TLS connection to PostgreSQL/,
    );
  });

  test("takes a base backup as well", async () => {
    const connection = await connect(parseUri(`${server.url}?sslmode=require`, {}), "replication", context);
    const session = connection.copy("copying", "BASE_BACKUP ( CHECKPOINT 'fast', WAIT false )");
    let bytes = 0;
    for (let message = await session.next(); message !== undefined; message = await session.next())
      bytes += message.length;
    expect(bytes).toBeGreaterThan(2 ** 20);
    expect(session.results.at(-1)?.[0]?.recptr).toMatch(/^\d+\/[0-9A-F]+$/);
    await connection.close();
  });
});
