import { chownSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import type { Evidence, Variant } from "./variant.ts";

/** PostgreSQL cuts a relation into files of 1 GiB: 131072 pages of 8 KiB. */
const FILE_BYTES = 2 ** 30;

async function proveFiles({ sql, files }: Evidence, table: string): Promise<void> {
  const path = (await sql(`SELECT pg_relation_filepath('${table}')`)) ?? "";
  expect(files.get(path)?.bytes).toBe(FILE_BYTES);
  expect(files.get(`${path}.1`)?.bytes).toBeGreaterThan(0);
  expect(Number(await sql(`SELECT pg_relation_size('${table}')`))).toBeGreaterThan(FILE_BYTES);
}

/**
 * Pages of zeros are valid, so a file can be grown to its end while the server is down, which costs no disk, and all that
 * is written after that goes into the next one.
 */
export const holedTable: Variant = {
  name: "a table of two files, the first of them almost empty",
  checks: [{ rows: "holed" }],
  async prepare(ground) {
    const { server } = ground;
    await ground.sql("CREATE TABLE holed (id int, filler text) WITH (autovacuum_enabled = off)");
    await ground.sql("INSERT INTO holed VALUES (0, 'first')");
    const file = join(server.dataDir, (await ground.sql("SELECT pg_relation_filepath('holed')")) ?? "");
    await server.stop();
    truncateSync(file, FILE_BYTES);
    writeFileSync(`${file}.1`, "");
    if (server.user !== undefined) chownSync(`${file}.1`, server.user.uid, server.user.gid);
    await server.restart();
    await ground.sql("INSERT INTO holed SELECT g, repeat('x', 1000) FROM generate_series(1, 1000) g");
  },
  async prove(evidence) {
    await proveFiles(evidence, "holed");
    expect(await evidence.sql("SELECT sum(id) FROM holed")).toBe("500500");
    const behind = "SELECT count(*) > 900 FROM holed WHERE ctid >= '(131072,0)'";
    expect(await evidence.sql(behind)).toBe("t");
  },
};

export const largeTable: Variant = {
  name: "a table over 1 GB",
  checks: [{ rows: "large" }],
  async prepare(ground) {
    await ground.sql("CREATE TABLE large (id int, filler text) WITH (autovacuum_enabled = off)");
    await ground.sql("ALTER TABLE large ALTER filler SET STORAGE PLAIN");
    await ground.sql(
      "INSERT INTO large SELECT g, repeat(md5(g::text), 60) FROM generate_series(1, 550000) g",
    );
  },
  async between(ground) {
    await ground.sql("DELETE FROM large WHERE id = 550000");
    await ground.sql("INSERT INTO large VALUES (0, 'last')");
  },
  async prove(evidence) {
    await proveFiles(evidence, "large");
    expect(await evidence.sql("SELECT sum(id) FROM large")).toBe(String((550000 * 549999) / 2));
    const wrong = "SELECT count(*) FROM large WHERE filler <> repeat(md5(id::text), 60) AND id > 0";
    expect(await evidence.sql(wrong)).toBe("0");
  },
};
