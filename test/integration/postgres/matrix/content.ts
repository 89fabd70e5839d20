import { expect } from "vitest";
import type { Variant } from "./variant.ts";

/** What can be in a cluster. All of these fit into one. */

export const tablespaces: Variant = {
  name: "tablespaces",
  checks: [{ rows: "in_space" }],
  async prepare(ground) {
    for (const name of ["space_one", "space_two"]) {
      await ground.sql(`CREATE TABLESPACE ${name} LOCATION '${ground.makeFolder()}'`);
    }
    await ground.sql("CREATE TABLE in_space TABLESPACE space_one AS SELECT generate_series(1, 500) AS id");
    await ground.sql("CREATE INDEX in_other ON in_space (id) TABLESPACE space_two");
    await ground.sql("CREATE TABLE grows_in_space TABLESPACE space_two AS SELECT 1 AS id");
  },
  async between(ground) {
    await ground.sql("INSERT INTO grows_in_space SELECT generate_series(2, 300)");
  },
  async prove({ sql, details }) {
    expect(details.tablespaces).toHaveLength(2);
    expect(await sql("SELECT sum(id) FROM in_space")).toBe("125250");
    expect(await sql("SELECT count(*) FROM grows_in_space")).toBe("300");
    const home = `SELECT spcname FROM pg_tablespace s JOIN pg_class c ON c.reltablespace = s.oid WHERE relname =`;
    expect(await sql(`${home} 'in_space'`)).toBe("space_one");
    expect(await sql(`${home} 'in_other'`)).toBe("space_two");
    const places = "SELECT string_agg(pg_tablespace_location(oid), ' ') FROM pg_tablespace";
    for (const { location } of details.tablespaces) expect(await sql(places)).not.toContain(location);
  },
};

export const unlogged: Variant = {
  name: "unlogged tables beside logged ones",
  checks: [{ rows: "logged_neighbour" }, { rows: "passing" }],
  unanswered: { "rows: passing": /it is unlogged/ },
  async prepare(ground) {
    await ground.sql("CREATE UNLOGGED TABLE passing (id int PRIMARY KEY)");
    await ground.sql("INSERT INTO passing SELECT generate_series(1, 500)");
    await ground.sql("CREATE TABLE logged_neighbour (id int PRIMARY KEY)");
    await ground.sql("INSERT INTO logged_neighbour SELECT generate_series(1, 500)");
  },
  async prove({ sql }) {
    expect(await sql("SELECT relpersistence FROM pg_class WHERE relname = 'passing'")).toBe("u");
    expect(await sql("SELECT count(*) FROM passing")).toBe("0");
    expect(await sql("SELECT sum(id) FROM logged_neighbour")).toBe("125250");
    // Its files are there and whole.
    expect(await sql("INSERT INTO passing VALUES (7) RETURNING id")).toBe("7");
  },
};

/** Repeatable content of about 700 kB. */
const LARGE =
  "convert_to((SELECT string_agg(md5(g::text || '%'), '') FROM generate_series(1, 22000) g), 'UTF8')";
const large = (name: string) => LARGE.replace("%", name);

export const largeObjects: Variant = {
  name: "large objects",
  async prepare(ground) {
    await ground.sql(`SELECT lo_from_bytea(470001, ${large("a")})`);
    await ground.sql(`SELECT lo_from_bytea(470003, ${large("c")})`);
  },
  async between(ground) {
    await ground.sql(`SELECT lo_from_bytea(470002, ${large("b")})`);
    await ground.sql("SELECT lo_unlink(470003)");
  },
  async prove({ sql }) {
    expect(await sql("SELECT string_agg(oid::text, ' ' ORDER BY oid) FROM pg_largeobject_metadata")).toBe(
      "470001 470002",
    );
    expect(await sql(`SELECT lo_get(470001) = ${large("a")}`)).toBe("t");
    expect(await sql(`SELECT lo_get(470002) = ${large("b")}`)).toBe("t");
  },
};

export const prepared: Variant = {
  name: "a prepared transaction that is open all the time",
  postgres: () => ({ settings: { max_prepared_transactions: 20 } }),
  async prepare(ground) {
    await ground.sql("CREATE TABLE promised (id int PRIMARY KEY)");
    await ground.sql("INSERT INTO promised VALUES (1)");
    const client = await ground.server.client();
    await client.query("BEGIN");
    await client.query("INSERT INTO promised SELECT generate_series(2, 100)");
    await client.query("PREPARE TRANSACTION 'held'");
    await client.end();
  },
  async between(ground) {
    await ground.sql("INSERT INTO promised VALUES (1000)");
  },
  async prove({ sql }) {
    expect(await sql("SELECT string_agg(gid, ' ') FROM pg_prepared_xacts")).toBe("held");
    expect(await sql("SELECT count(*) FROM promised")).toBe("2");
    await sql("COMMIT PREPARED 'held'");
    expect(await sql("SELECT count(*) FROM promised")).toBe("101");
  },
};

const WORDS = "('zebra'), ('äpfel'), ('Apfel'), ('öl'), ('Öl'), ('ol'), ('ähre')";
const ORDER = "SELECT string_agg(word, ' ' ORDER BY word) FROM";
/** What neither the C locale nor German without phone book sorting gives: ä as ae, ö as oe. */
const PHONE_BOOK = "ähre äpfel Apfel öl Öl ol zebra";

export const icuCollation: Variant = {
  name: "a column and its index with an ICU collation",
  async prepare(ground) {
    await ground.sql("CREATE COLLATION phone_book (provider = icu, locale = 'de-u-co-phonebk')");
    await ground.sql("CREATE TABLE words (word text COLLATE phone_book PRIMARY KEY)");
    await ground.sql(`INSERT INTO words VALUES ${WORDS}`);
  },
  async prove({ sql }) {
    expect(await sql(`${ORDER} words`)).toBe(PHONE_BOOK);
    const provider = "SELECT collprovider FROM pg_collation WHERE collname = 'phone_book'";
    expect(await sql(provider)).toBe("i");
  },
};

export const icuDatabase: Variant = {
  name: "a database of the ICU provider",
  since: 15,
  async prepare(ground) {
    await ground.sql(
      "CREATE DATABASE german TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-u-co-phonebk'",
    );
    await ground.sql("CREATE TABLE words (word text PRIMARY KEY)", "german");
    await ground.sql(`INSERT INTO words VALUES ${WORDS}`, "german");
  },
  async prove({ sql, details }) {
    expect(details.databases.find((one) => one.name === "german")).toMatchObject({ localeProvider: "icu" });
    expect(await sql(`${ORDER} words`, "german")).toBe(PHONE_BOOK);
    expect(await sql("SELECT datlocprovider FROM pg_database WHERE datname = 'german'")).toBe("i");
  },
};

export const manyTables: Variant = {
  name: "2,000 tables",
  checks: [{ rows: "many.t_1777" }],
  async prepare(ground) {
    await ground.sql("CREATE SCHEMA many");
    for (let first = 1; first <= 2000; first += 250) {
      await ground.sql(`DO $$ BEGIN FOR i IN ${first}..${first + 249} LOOP
        EXECUTE format('CREATE TABLE many.t_%s AS SELECT %s AS id', i, i); END LOOP; END $$`);
    }
    await ground.sql(`CREATE FUNCTION many.total() RETURNS bigint LANGUAGE plpgsql AS $$
      DECLARE total bigint := 0; one bigint; BEGIN
        FOR i IN 1..2000 LOOP EXECUTE format('SELECT sum(id) FROM many.t_%s', i) INTO one; total := total + one; END LOOP;
        RETURN total; END $$`);
  },
  async between(ground) {
    await ground.sql("INSERT INTO many.t_2000 VALUES (1000000)");
  },
  async prove({ sql }) {
    expect(await sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'many'")).toBe("2000");
    expect(await sql("SELECT many.total()")).toBe("3001000");
  },
};
