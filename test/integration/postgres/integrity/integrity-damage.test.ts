import { execFileSync } from "node:child_process";
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { byNight } from "../../../support/nightly.ts";
import { startPostgres, type TestPostgres } from "../../../support/postgres.ts";
import { openSource, withConfig } from "../recovering.ts";
import { inspected } from "./grounds.ts";

/** Each test damages one relation of a stopped server, looks, and puts the file back. */
describe.each(byNight([15, 18]))("what is damaged in PostgreSQL %i", (major) => {
  let server: TestPostgres;

  beforeAll(async () => {
    server = await startPostgres({ major, initdbArgs: ["--data-checksums"] });
    await server.query(
      "CREATE TABLE orders AS SELECT g AS id, 'note ' || g AS note FROM generate_series(1, 5000) g",
    );
    await server.query("CREATE INDEX orders_id ON orders (id)");
    await server.query("CREATE INDEX orders_hash ON orders USING hash (id)");
    await server.query("CREATE DATABASE other");
    const other = await server.client("other");
    await other.query("CREATE TABLE far AS SELECT g AS id FROM generate_series(1, 5000) g");
    await other.end();
  });
  afterAll(() => server[Symbol.asyncDispose]());

  async function fileOf(relation: string, database = "postgres"): Promise<string> {
    const client = await server.client(database);
    const { rows } = await client.query<{ path: string }>("SELECT pg_relation_filepath($1) AS path", [
      relation,
    ]);
    await client.end();
    return join(server.dataDir, rows[0]?.path ?? "");
  }

  async function whileChanged<T>(
    path: string,
    change: (bytes: Buffer) => Buffer | undefined,
    look: () => Promise<T>,
  ) {
    await server.stop();
    const before = readFileSync(path);
    try {
      const after = change(Buffer.from(before));
      if (after === undefined) rmSync(path);
      else writeFileSync(path, after);
      await server.restart();
      return await look();
    } finally {
      await server.stop();
      writeFileSync(path, before);
      if (server.user !== undefined) execFileSync("chown", [`${server.user.uid}:${server.user.gid}`, path]);
      await server.restart();
    }
  }

  test("is nothing at first", async () => {
    const results = await inspected(server);
    for (const name of ["tables (amcheck)", "B-tree indexes (amcheck)", "every page read"]) {
      const { status, actual, lines } = results[name] ?? {};
      expect({ name, status, lines }).toEqual({ name, status: "passed", lines: undefined });
      const [, checked, total] = /^checked (\d+) of (\d+)$/.exec(actual ?? "") ?? [];
      expect(Number(checked)).toBeGreaterThan(200);
      expect(checked).toBe(total);
    }
    // What the checks needed is gone again.
    expect(await server.query("SELECT extname FROM pg_extension")).toEqual([{ extname: "plpgsql" }]);
    expect(await server.query("SELECT nspname FROM pg_namespace WHERE nspname ~ 'drillbook'")).toEqual([]);
  });

  test("is found in a page of a table by its checksum, in any database", async () => {
    const results = await whileChanged(await fileOf("far", "other"), flipAt(8192 + 4000), () =>
      inspected(server),
    );
    expect(results["tables (amcheck)"]).toMatchObject({
      status: "failed",
      actual: expect.stringMatching(
        /^checked (\d+) of \1, 1 damaged: other: table public\.far: invalid page in block 1 /,
      ),
    });
    expect(results["every page read"]?.status).toBe("passed");
  });

  test("is found in an index that amcheck does not know", async () => {
    const results = await whileChanged(await fileOf("orders_hash"), flipAt(2 * 8192 + 4000), () =>
      inspected(server),
    );
    expect(results["every page read"]).toMatchObject({
      status: "failed",
      actual: expect.stringContaining("postgres: index public.orders_hash: invalid page in block 2"),
    });
    expect(results["B-tree indexes (amcheck)"]?.status).toBe("passed");
  });

  test("is found when a file is not there", async () => {
    const index = await whileChanged(
      await fileOf("orders_hash"),
      () => undefined,
      () => inspected(server),
    );
    expect(index["every page read"]).toMatchObject({
      status: "failed",
      lines: [expect.stringContaining("index public.orders_hash: ")],
    });
    const table = await whileChanged(
      await fileOf("orders"),
      () => undefined,
      () => inspected(server),
    );
    expect(table["tables (amcheck)"]).toMatchObject({
      status: "failed",
      lines: [expect.stringContaining("table public.orders: could not open file")],
    });
  });

  test("counts also when another database cannot be looked at", async () => {
    const other = await server.client("other");
    // Nobody can give this one an extension.
    await other.query("CREATE SCHEMA drillbook_integrity");
    await other.query(
      "CREATE FUNCTION drillbook_integrity.bt_index_check(regclass) RETURNS void LANGUAGE sql AS ''",
    );
    const results = await whileChanged(await fileOf("orders"), flipAt(4000), () => inspected(server));
    const client = await server.client("other");
    await client.query("DROP SCHEMA IF EXISTS drillbook_integrity CASCADE");
    await client.end();
    expect(results["tables (amcheck)"]).toMatchObject({
      status: "failed",
      lines: [
        expect.stringContaining("table public.orders: invalid page"),
        expect.stringMatching(/^other: /),
      ],
    });
  });

  test("is told without a value of a row", async () => {
    const results = await whileChanged(await fileOf("orders"), flipAt(4000), () => inspected(server));
    expect(results["tables (amcheck)"]?.status).toBe("failed");
    expect(JSON.stringify(results)).not.toMatch(/note \d/);
  });
});

describe.each(byNight([15, 18]))("what no checksum protects in PostgreSQL %i", (major) => {
  test("is found by amcheck: a table's line pointer, and a row that an index lacks", async () => {
    const initdbArgs = major >= 18 ? ["--no-data-checksums"] : [];
    await using server = await startPostgres({ major, initdbArgs });
    await server.query("CREATE TABLE broken AS SELECT g AS id FROM generate_series(1, 100) g");
    await server.query("CREATE TABLE stale (id int PRIMARY KEY)");
    await server.query("INSERT INTO stale SELECT generate_series(1, 10)");
    const [paths] = await server.query<{ heap: string; index: string }>(
      "SELECT pg_relation_filepath('broken') AS heap, pg_relation_filepath('stale_pkey') AS index",
    );
    const heap = join(server.dataDir, paths?.heap ?? "");
    const index = join(server.dataDir, paths?.index ?? "");
    await server.stop();
    const old = readFileSync(index);
    await server.restart();
    await server.query("INSERT INTO stale SELECT generate_series(11, 20)");
    await server.stop();
    // The index as it was: in itself without a fault.
    writeFileSync(index, old);
    const bytes = readFileSync(heap);
    // The first line pointer, in use: 28 bytes at the offset 0x7ff8 of a page of 8 kB.
    bytes.writeUInt32LE(0x7ff8 | (1 << 15) | (28 << 17), 24);
    writeFileSync(heap, bytes);
    await server.restart();

    const results = await inspected(server, { dataChecksums: false });
    expect(results["tables (amcheck)"]).toMatchObject({
      status: "failed",
      lines: [expect.stringMatching(/^postgres: table public\.broken: page 0, tuple 1: line pointer /)],
    });
    expect(results["B-tree indexes (amcheck)"]).toMatchObject({
      status: "failed",
      lines: [
        expect.stringMatching(
          /^postgres: index public\.stale_pkey: heap tuple .* lacks matching index tuple/,
        ),
      ],
    });
    expect(results["every page read"]).toMatchObject({
      status: "passed",
      actual: expect.stringMatching(/, without data checksums$/),
      lines: [expect.stringContaining("data checksums are off")],
    });
  });

  test("is no proof against the backup where only this machine sorts otherwise", async () => {
    const initdbArgs = [
      "--locale-provider=icu",
      "--icu-locale=de",
      ...(major >= 18 ? ["--no-data-checksums"] : []),
    ];
    await using server = await startPostgres({ major, initdbArgs });
    await server.query('CREATE TABLE names (name text COLLATE "C" PRIMARY KEY)');
    await server.query("INSERT INTO names VALUES ('B'), ('a')");
    // The index keeps the order of bytes, and is said to have that of the database.
    await server.query("UPDATE pg_index SET indcollation = '100' WHERE indexrelid = 'names_pkey'::regclass");
    await server.query(
      "UPDATE pg_attribute SET attcollation = 100 WHERE attname = 'name' AND attcollation = 950 AND attrelid IN ('names'::regclass, 'names_pkey'::regclass)",
    );
    const whole = await inspected(server);
    expect(whole["B-tree indexes (amcheck)"]).toMatchObject({
      status: "failed",
      lines: [expect.stringContaining("names_pkey")],
    });
    await server.query("UPDATE pg_database SET datcollversion = '1.0' WHERE datname = 'postgres'");

    const results = await inspected(server);
    expect(results["collation versions"]).toMatchObject({
      status: "passed",
      actual: expect.stringMatching(/1 with another version in the scratch server$/),
      lines: [expect.stringMatching(/^database postgres: version 1\.0 in the source, [\d.]+ here$/)],
    });
    expect(results["B-tree indexes (amcheck)"]).toMatchObject({
      status: "unverified",
      actual: expect.stringMatching(
        /^checked (\d+) of \d+, 1 not proven: .*names_pkey.*sorts text by another version/,
      ),
    });
  });
});

test("a server without contrib leaves it unverified and says what to install", async () => {
  await using source = await openSource({ postgres: { major: 15 } });
  await source.server.query("CREATE TABLE orders AS SELECT 1 AS id");
  await source.server.query("CREATE EXTENSION cube");
  await source.backup();
  const folder = mkdtempSync(join(tmpdir(), "drillbook-bare-"));
  chmodSync(folder, 0o755);
  try {
    cpSync(join(source.server.binDir, ".."), folder, { recursive: true, verbatimSymlinks: true });
    for (const name of ["amcheck", "pg_prewarm", "cube"]) {
      rmSync(join(folder, `share/postgresql/extension/${name}.control`));
    }
    rmSync(join(folder, "lib/postgresql/cube.so"));
    const setting = withConfig(source, { server: { "bin-dir": join(folder, "bin") } });
    const recovered = await source.recover("latest", { setting });
    try {
      const results = (await recovered.inspect?.()) ?? [];
      const of = (check: string) => results.find((one) => one.check === check);
      expect(of("integrity: tables (amcheck)")).toMatchObject({
        status: "unverified",
        actual: expect.stringMatching(
          /no extension amcheck \(package postgresql-15, on RHEL postgresql15-contrib\)/,
        ),
      });
      expect(of("integrity: B-tree indexes (amcheck)")?.status).toBe("unverified");
      expect(of("integrity: every page read")?.status).toBe("unverified");
      expect(of("integrity: extensions")).toMatchObject({
        status: "unverified",
        actual: expect.stringMatching(
          /^checked \d+ of \d+; not beside the scratch server: extension cube \(package postgresql-15/,
        ),
        lines: [
          expect.stringContaining("extension cube"),
          expect.stringContaining("library $libdir/cube of extension cube"),
        ],
      });
      expect(of("schema as in the census")?.status).toBe("passed");
    } finally {
      await recovered.dispose();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

function flipAt(offset: number): (bytes: Buffer) => Buffer {
  return (bytes) => {
    bytes[offset] = (bytes[offset] ?? 0) ^ 0xff;
    return bytes;
  };
}
