import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Recovered } from "../../../../src/component.ts";
import type { CheckResult } from "../../../../src/record.ts";
import { byNight } from "../../../support/nightly.ts";
import { openSource, type Source, withConfig } from "../recovering.ts";

/** All checks that a test wants, run on one recovered server. */
describe.each(byNight([14, 15, 18]))("the checks of a recovered PostgreSQL %i", (major) => {
  let source: Source;
  let recovered: Recovered;
  let results: CheckResult[];

  const now = "to_timestamp(1769351400)";
  const checks = [
    { query: "SELECT count(*) FROM orders", expect: ">= 1000" },
    { query: "SELECT count(*) FROM orders", expect: "< 1000" },
    { query: "SELECT id FROM orders WHERE id = 0", expect: "= 0" },
    { query: "SELECT max(id) FROM orders WHERE id = 0", expect: "!= x" },
    { query: "SELECT note FROM orders ORDER BY id LIMIT 1", expect: "= note 1" },
    { query: "SELECT count(*) FROM nowhere", expect: ">= 1" },
    { query: "SELECT note::int FROM orders", expect: ">= 1" },
    { query: "DELETE FROM orders RETURNING id", expect: ">= 1" },
    { query: "SELECT count(*) FROM orders; DROP TABLE orders", expect: ">= 1" },
    { query: "SELECT max(made) FROM orders", "max-age": "1h" },
    { query: "SELECT max(made) - interval '1 day' FROM orders", "max-age": "1h" },
    { query: `SELECT ${now} FROM orders LIMIT 1`, "max-age": "3s" },
    { query: "SELECT max(made)::timestamp FROM orders", "max-age": "1h" },
    { query: "SELECT max(made) FROM orders WHERE id = 0", "max-age": "1h" },
    { query: "SELECT note FROM orders LIMIT 1", "max-age": "1h" },
    { query: "SELECT id FROM orders ORDER BY id DESC", expect: ">= 1000" },
    { query: "SELECT repeat('x', 1000) FROM orders, generate_series(1, 100000)", expect: "~ ^x" },
    { query: "SELECT max(made) + interval '2 hours' FROM orders", "max-age": "1h" },
    { rows: "orders" },
    { rows: "grown" },
    { rows: "grown", tolerance: "20%" },
    { rows: "grown", tolerance: 99 },
    { rows: "gone" },
    { rows: "volatile" },
    { rows: "never_there" },
    { query: "SELECT repeat('x', 500) FROM orders LIMIT 1", expect: "= x" },
  ];

  beforeAll(async () => {
    source = await openSource({ postgres: { major }, config: { checks } });
    const { server } = source;
    await server.query(
      "CREATE TABLE orders AS SELECT g AS id, 'note ' || g AS note, now() AS made FROM generate_series(1, 1000) g",
    );
    await server.query("CREATE TABLE grown AS SELECT generate_series(1, 1000) AS id");
    await server.query("CREATE TABLE gone AS SELECT 1 AS id");
    await server.query("CREATE UNLOGGED TABLE volatile AS SELECT 1 AS id");
    await source.backup();
    await server.query("INSERT INTO grown SELECT generate_series(1, 100)");
    await server.query("DROP TABLE gone");
    await source.backup("wal");
    const setting = withConfig(source, { integrity: false, checks });
    recovered = await source.recover("latest", { setting });
    results = await recovered.check();
  });
  afterAll(async () => {
    await recovered?.dispose();
    await source[Symbol.asyncDispose]();
  });

  function outcomes(key: string): { status: string; expected: string; actual: string }[] {
    return results
      .filter((result) => result.check === key)
      .map(({ status, expected, actual }) => ({ status, expected, actual }));
  }

  test("are answered in order, in the words of the runbook", () => {
    expect(results.map((result) => result.check)).toEqual(
      checks.map((check) => ("rows" in check ? `rows: ${check.rows}` : check.query)),
    );
    expect(results.every((result) => result.component === "db")).toBe(true);
  });

  test("compare the first value", () => {
    expect(outcomes("SELECT count(*) FROM orders")).toEqual([
      { status: "passed", expected: ">= 1000", actual: "1000" },
      { status: "failed", expected: "< 1000", actual: "1000" },
    ]);
    expect(outcomes("SELECT note FROM orders ORDER BY id LIMIT 1")).toEqual([
      { status: "passed", expected: "= note 1", actual: "note 1" },
    ]);
  });

  test("fail without a row and with NULL", () => {
    expect(outcomes("SELECT id FROM orders WHERE id = 0")).toMatchObject([
      { status: "failed", actual: "no row" },
    ]);
    expect(outcomes("SELECT max(id) FROM orders WHERE id = 0")).toMatchObject([
      { status: "failed", actual: "NULL" },
    ]);
    expect(outcomes("SELECT max(made) FROM orders WHERE id = 0")).toMatchObject([{ status: "failed" }]);
  });

  test("are unverified when they cannot run, with the server's words but no value of a row", () => {
    expect(outcomes("SELECT count(*) FROM nowhere")).toMatchObject([
      { status: "unverified", actual: 'relation "nowhere" does not exist' },
    ]);
    const [typed] = outcomes("SELECT note::int FROM orders");
    expect(typed).toMatchObject({ status: "unverified", actual: "invalid input syntax for type integer" });
  });

  test("can change nothing", async () => {
    expect(outcomes("DELETE FROM orders RETURNING id")).toMatchObject([
      { status: "unverified", actual: expect.stringContaining("read-only transaction") },
    ]);
    expect(outcomes("SELECT count(*) FROM orders; DROP TABLE orders")).toMatchObject([
      { status: "unverified" },
    ]);
    expect(outcomes("rows: orders")).toEqual([{ status: "passed", expected: "1000", actual: "1000" }]);
  });

  test("measure an age back from the recovered moment", () => {
    expect(outcomes("SELECT max(made) FROM orders")).toMatchObject([{ status: "passed" }]);
    expect(outcomes("SELECT max(made)::timestamp FROM orders")).toMatchObject([{ status: "passed" }]);
    expect(outcomes("SELECT max(made) - interval '1 day' FROM orders")).toMatchObject([{ status: "failed" }]);
    expect(outcomes(`SELECT ${now} FROM orders LIMIT 1`)).toMatchObject([{ status: "failed" }]);
    expect(outcomes("SELECT note FROM orders LIMIT 1")).toMatchObject([
      { status: "unverified", actual: "note 1, which is not a time" },
    ]);
  });

  test("fail with more than one row, however many there are", () => {
    for (const key of [
      "SELECT id FROM orders ORDER BY id DESC",
      "SELECT repeat('x', 1000) FROM orders, generate_series(1, 100000)",
    ]) {
      expect(outcomes(key)).toMatchObject([{ status: "failed", actual: "more than one row" }]);
    }
  });

  test("fail when the newest time is one that has not come yet", () => {
    expect(outcomes("SELECT max(made) + interval '2 hours' FROM orders")).toMatchObject([
      { status: "failed" },
    ]);
  });

  test("compare rows with what was captured", () => {
    expect(outcomes("rows: grown")).toEqual([
      { status: "failed", expected: "1000", actual: "1100" },
      { status: "passed", expected: "1000 ± 20 %", actual: "1100" },
      { status: "failed", expected: "1000 ± 99", actual: "1100" },
    ]);
    expect(outcomes("rows: gone")).toMatchObject([{ status: "failed", actual: "the table is not there" }]);
    for (const name of ["volatile", "never_there"]) {
      expect(outcomes(`rows: ${name}`)).toMatchObject([
        { status: "unverified", actual: expect.stringMatching(/^not captured: /) },
      ]);
    }
  });

  test("show at most 200 characters of a value", () => {
    const [long] = outcomes("SELECT repeat('x', 500) FROM orders LIMIT 1");
    expect(long?.actual).toBe(`${"x".repeat(200)}…`);
  });
});
