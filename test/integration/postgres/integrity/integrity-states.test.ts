import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Census } from "../../../../src/postgres/census/document.ts";
import { byNight } from "../../../support/nightly.ts";
import { startPostgres, type TestPostgres } from "../../../support/postgres.ts";
import { censusNow, inspected } from "./grounds.ts";

/** Where the census of `censusNow` holds, and where later changes are possible. */
const STEADY = { reachedLsn: 100n };
const LATER = { reachedLsn: 1_000n };

describe.each(byNight([15, 18]))("what a source can have too, on PostgreSQL %i", (major) => {
  let server: TestPostgres;
  let whole: Census;

  beforeAll(async () => {
    server = await startPostgres({ major });
  });
  afterAll(() => server[Symbol.asyncDispose]());
  beforeEach(async () => {
    await server.query("DROP SCHEMA public CASCADE");
    await server.query("CREATE SCHEMA public");
    for (const statement of [
      "CREATE TABLE people (id serial PRIMARY KEY, name text NOT NULL DEFAULT 'nobody')",
      "INSERT INTO people (name) SELECT 'secret ' || g FROM generate_series(1, 20) g",
      "CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY, person int, CHECK (person > 0))",
      "CREATE MATERIALIZED VIEW names AS SELECT name FROM people",
      "CREATE INDEX orders_person ON orders (person)",
      "ALTER TABLE orders ADD CONSTRAINT person_known FOREIGN KEY (person) REFERENCES people",
      "CREATE FUNCTION twice(x int) RETURNS int LANGUAGE sql AS 'SELECT 2 * x'",
    ]) {
      await server.query(statement);
    }
    whole = await censusNow(server);
  });

  /** Gives an index, a constraint and a materialized view of their own a flaw. */
  async function spoil(): Promise<void> {
    await server.query("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'orders_person'::regclass");
    await server.query("ALTER TABLE orders DROP CONSTRAINT person_known");
    await server.query(
      "ALTER TABLE orders ADD CONSTRAINT person_known FOREIGN KEY (person) REFERENCES people NOT VALID",
    );
    await server.query("REFRESH MATERIALIZED VIEW names WITH NO DATA");
  }

  const FLAWS = [
    ["valid indexes", "index public.orders_person is invalid"],
    ["valid constraints", "constraint person_known of public.orders is not valid"],
    ["materialized views", "materialized view public.names is unpopulated"],
  ] as const;

  test("all is well when nothing has changed", async () => {
    const results = await inspected(server, { ...STEADY, census: whole });
    for (const { check, status, lines } of Object.values(results)) {
      expect({ check, status, lines }).toEqual({ check, status: "passed", lines: undefined });
    }
    expect(results["schema as in the census"]?.actual).toMatch(/^compared (\d\d) of \1 objects$/);
    expect(results["valid indexes"]?.actual).toBe("checked 2 of 2");
    expect(results["materialized views"]?.actual).toBe("checked 1 of 1");
    expect(results.sequences?.actual).toBe("checked 2 of 2");
  });

  test("a flaw that the source has is a note", async () => {
    await spoil();
    const results = await inspected(server, { ...STEADY, census: await censusNow(server) });
    for (const [check, subject] of FLAWS) {
      expect(results[check]).toMatchObject({
        status: "passed",
        lines: [`postgres: ${subject}, as in the source`],
      });
    }
    expect(results["schema as in the census"]).toMatchObject({ status: "passed" });
  });

  test("a flaw that the source had not is a failure", async () => {
    await spoil();
    const results = await inspected(server, { ...STEADY, census: whole });
    for (const [check, subject] of FLAWS) {
      expect(results[check]).toMatchObject({
        status: "failed",
        lines: [`postgres: ${subject}, and was not when the backup was taken`],
      });
    }
  });

  test("a flaw behind a change of the schema may be the source's", async () => {
    await spoil();
    const results = await inspected(server, { ...LATER, census: whole });
    for (const [check, subject] of FLAWS) {
      expect(results[check]).toMatchObject({
        status: "passed",
        lines: [`postgres: ${subject} since a change after the census`],
      });
    }
  });

  test("without a census nobody knows, so a flaw leaves it unverified", async () => {
    expect((await inspected(server))["valid indexes"]).toMatchObject({ status: "passed" });
    await spoil();
    const results = await inspected(server);
    for (const [check] of FLAWS) expect(results[check]?.status).toBe("unverified");
    expect(results["roles as in the census"]).toMatchObject({
      status: "unverified",
      actual: "the backup has no census",
    });
    expect(results["schema as in the census"]?.status).toBe("unverified");
  });

  test("a sequence that fell behind its column is a failure, and none of its values is told", async () => {
    await server.query("SELECT setval('people_id_seq', 7)");
    const failed = await inspected(server, { ...STEADY, census: whole });
    expect(failed.sequences).toMatchObject({
      status: "failed",
      actual: expect.stringMatching(/^checked 2 of 2, 1 behind: /),
      lines: [
        "postgres: sequence public.people_id_seq is behind public.people.id, and was not when the backup was taken",
      ],
    });
    expect((await inspected(server)).sequences?.status).toBe("unverified");
    const asBefore = await inspected(server, { ...STEADY, census: await censusNow(server) });
    expect(asBefore.sequences).toMatchObject({
      status: "passed",
      lines: [expect.stringMatching(/is behind public\.people\.id, as in the source$/)],
    });
  });

  test("what counts as behind: identities, defaults, directions, steps and is_called", async () => {
    const behind: string[] = [];
    const ahead: string[] = [];
    async function sequence(
      name: string,
      options: string,
      value: string,
      set: string,
      isBehind: boolean,
    ): Promise<void> {
      await server.query(`CREATE SEQUENCE ${name} ${options}`);
      await server.query(`CREATE TABLE t_${name} (id bigint DEFAULT nextval('${name}'))`);
      await server.query(`INSERT INTO t_${name} VALUES (${value})`);
      await server.query(`SELECT setval('${name}', ${set})`);
      (isBehind ? behind : ahead).push(name);
    }
    await sequence("equal_called", "", "5", "5, true", false);
    await sequence("equal_not_called", "", "5", "5, false", true);
    await sequence("less", "", "6", "5, true", true);
    await sequence("down", "INCREMENT -1 MAXVALUE 100", "40", "50, true", true);
    await sequence("down_fine", "INCREMENT -1 MAXVALUE 100", "60", "50, true", false);
    await sequence("steps_over", "INCREMENT 10", "15", "10, true", false);
    await sequence("cycles", "MAXVALUE 10 CYCLE", "9", "5, true", false);
    await sequence("at_the_end", "", "9223372036854775807", "9223372036854775807, true", false);
    await server.query("INSERT INTO orders (id, person) OVERRIDING SYSTEM VALUE VALUES (50, 1)");
    const { sequences } = await inspected(server);
    const named = (sequences?.lines ?? []).map((line) => /sequence public\.(\w+)/.exec(line)?.[1]);
    expect(named.sort()).toEqual([...behind, "orders_id_seq"].sort());
  });

  test("a schema that differs where nothing may have changed is a failure, told line by line", async () => {
    await server.query("DROP MATERIALIZED VIEW names");
    await server.query("ALTER TABLE people ALTER name TYPE varchar(30)");
    await server.query("DROP INDEX orders_person");
    await server.query("CREATE OR REPLACE FUNCTION twice(x int) RETURNS int LANGUAGE sql AS 'SELECT 3 * x'");
    await server.query("ALTER TABLE orders RENAME TO purchases");
    await server.query("CREATE TABLE fresh (id int)");
    const lines = [
      "postgres: materialized view public.names is not there",
      "postgres: table public.orders is now named public.purchases",
      `postgres: column public.people.name was "text NOT NULL DEFAULT 'nobody'::text", is "character varying(30) NOT NULL DEFAULT 'nobody'::text"`,
      "postgres: function public.twice(x integer) has another definition",
      "postgres: table public.fresh is new",
    ];
    const { "schema as in the census": failed } = await inspected(server, { ...STEADY, census: whole });
    expect(failed?.status).toBe("failed");
    expect(failed?.lines).toEqual(lines);
    expect(failed?.actual).toMatch(/ different: postgres: materialized view public\.names is not there$/);
    const { "schema as in the census": passed } = await inspected(server, { ...LATER, census: whole });
    expect(passed).toMatchObject({
      status: "passed",
      actual: expect.stringMatching(/ different, which changes in the source after the census may explain$/),
      lines,
    });
  });

  test("a database that is not there is a failure, or a difference after changes", async () => {
    await server.query("CREATE DATABASE gone");
    const census = await censusNow(server, "gone");
    await server.query("DROP DATABASE gone");
    const both = { ...whole, databases: [...whole.databases, ...census.databases] };
    const results = await inspected(server, { ...STEADY, census: both });
    expect(results["schema as in the census"]).toMatchObject({
      status: "failed",
      lines: ["database gone is not there"],
    });
    const later = await inspected(server, { ...LATER, census: both });
    expect(later["schema as in the census"]).toMatchObject({
      status: "passed",
      lines: ["database gone is not there"],
    });
  });

  test("roles are compared with their attributes and memberships, but for our own", async () => {
    await server.query("CREATE ROLE staff");
    await server.query("CREATE ROLE alice LOGIN IN ROLE staff");
    await server.query("CREATE ROLE bob");
    const census = await censusNow(server);
    await server.query("ALTER ROLE alice SUPERUSER");
    await server.query("REVOKE staff FROM alice");
    await server.query("DROP ROLE bob");
    await server.query("CREATE ROLE drillbook_abc SUPERUSER");
    const more = { census, temporaryRole: "drillbook_abc" };
    const lines = [
      "role bob is not there",
      'role alice was "INHERIT LOGIN member of staff", is "SUPERUSER INHERIT LOGIN"',
    ];
    const results = await inspected(server, { ...STEADY, ...more });
    expect(results["roles as in the census"]).toMatchObject({ status: "failed", lines });
    const later = await inspected(server, { ...LATER, ...more });
    expect(later["roles as in the census"]).toMatchObject({ status: "passed", lines });
    for (const role of ["alice", "staff", "drillbook_abc"]) await server.query(`DROP ROLE ${role}`);
  });

  test("an extension that is not on the machine is named with its package", async () => {
    await server.query("CREATE EXTENSION cube");
    await server.query("UPDATE pg_extension SET extname = 'vector' WHERE extname = 'cube'");
    await server.query("UPDATE pg_proc SET probin = '$libdir/vector' WHERE probin = '$libdir/cube'");
    const { extensions } = await inspected(server);
    expect(extensions).toMatchObject({
      status: "unverified",
      actual: expect.stringContaining(`extension vector (package postgresql-${major}-pgvector), in postgres`),
      lines: [
        expect.stringContaining("extension vector"),
        expect.stringContaining("library $libdir/vector of extension vector"),
      ],
    });
    await server.query("UPDATE pg_extension SET extname = 'cube' WHERE extname = 'vector'");
    await server.query("DROP EXTENSION cube");
  });
});

test("a table that vanished without being dropped is lost, whatever may have changed", async () => {
  await using server = await startPostgres();
  await server.query("CREATE TABLE orders (id int)");
  const census = await censusNow(server);
  await server.query("DELETE FROM pg_class WHERE oid = 'orders'::regclass");
  const results = await inspected(server, { ...LATER, census });
  expect(results["schema as in the census"]).toMatchObject({
    status: "failed",
    actual: expect.stringContaining("table public.orders is lost: its columns are there, but it is not"),
  });
});
