import type pg from "pg";
import type { Census } from "../../../../src/postgres/census/document.ts";
import { readObjects, readRoles, SPELLING } from "../../../../src/postgres/census/objects.ts";
import { readSequences } from "../../../../src/postgres/census/sequences.ts";
import type { Ask } from "../../../../src/postgres/checks/ask.ts";
import type { Session } from "../../../../src/postgres/checks/session.ts";
import type { Ground } from "../../../../src/postgres/integrity/ground.ts";
import { inspect } from "../../../../src/postgres/integrity/inspect.ts";
import type { CheckResult } from "../../../../src/record.ts";
import { type TestContext, testContext } from "../../../support/context.ts";
import type { TestPostgres } from "../../../support/postgres.ts";

const TEXT = { getTypeParser: () => (value: string) => value };

/** A server of a test as integrity checks see a recovered one. */
async function groundOf(
  server: TestPostgres,
  more: Partial<Ground> = {},
): Promise<Ground & { readonly context: TestContext }> {
  const context = await testContext();
  const open = async (database: string, statements: readonly string[] = []): Promise<Session> => {
    const client = await server.client(database);
    for (const statement of statements) await client.query(statement);
    return sessionOf(client);
  };
  const databases = await server.query<{ name: string }>(
    "SELECT datname AS name FROM pg_database WHERE datallowconn ORDER BY datname",
  );
  return {
    databases: databases.map((row) => row.name),
    major: server.major,
    dataChecksums: true,
    census: undefined,
    reachedLsn: 100n,
    temporaryRole: "drillbook_none",
    open: (database) => open(database),
    openSpelling: (database) => open(database, SPELLING),
    ...more,
    context,
  };
}

function sessionOf(client: pg.Client): Session {
  return {
    async query(text, values) {
      const config = { text, values: [...(values ?? [])], rowMode: "array", types: TEXT } as const;
      return (await client.query<(string | null)[]>(config)).rows;
    },
    firstRows: () => Promise.reject(new Error("integrity checks read all rows")),
    close: () => client.end(),
  };
}

/** A census of the server as it is now; it holds between the positions 50 and 150. */
export async function censusNow(server: TestPostgres, database = "postgres"): Promise<Census> {
  const client = await server.client(database);
  const ask: Ask = (text, values) => sessionOf(client).query(text, values);
  for (const statement of SPELLING) await ask(statement);
  await ask("BEGIN");
  const steady = { from: "0/32", to: "0/96" };
  const census: Census = {
    schema: "drillbook/postgres-census/v1",
    backupId: "20260125T120000Z-1a2b3c",
    roles: { steady, objects: await readRoles(ask) },
    databases: [
      {
        name: database,
        capturedAt: "2026-01-25T12:00:00.000000Z",
        lsn: "0/64",
        steady,
        objects: await readObjects(ask, server.major),
        sequences: await readSequences(ask, true),
        rows: [],
      },
    ],
    tables: {},
  };
  await client.end();
  return census;
}

/** All results of an inspection by the name of the check. */
export async function inspected(
  server: TestPostgres,
  more: Partial<Ground> = {},
): Promise<Record<string, CheckResult>> {
  const ground = await groundOf(server, more);
  try {
    const results = await inspect(ground, "db", "postgres");
    return Object.fromEntries(results.map((one) => [one.check.replace("integrity: ", ""), one]));
  } finally {
    await ground.context[Symbol.asyncDispose]();
  }
}
