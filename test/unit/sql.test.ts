import { describe, expect, test } from "vitest";
import { isCountQuery, readsData } from "../../src/sql.ts";

describe("a query that reads nothing", () => {
  test.each([
    "SELECT 1",
    "select 1;",
    "SELECT 'from orders'",
    "SELECT $$ from orders $$",
    "SELECT $tag$ from $$ orders $tag$",
    "SELECT E'it\\'s from orders'",
    "SELECT 1 -- FROM orders",
    "SELECT /* FROM a /* nested */ FROM b */ 1",
    "SELECT now()",
    "SELECT now() - interval '1 hour'",
    "SELECT version()",
    "SELECT count(*)",
    "VALUES (1)",
    "SELECT true AND NOT false",
    "SELECT 1 WHERE 1 = 1",
    "SELECT extract(epoch FROM now())",
    "SELECT 1 IS DISTINCT FROM 2",
    "SELECT count(*) FROM generate_series(1, 10)",
    "SELECT x FROM (VALUES (1), (2)) AS t(x)",
    "SELECT x FROM (SELECT 1 AS x) AS t",
    "WITH t AS (SELECT 1 AS x) SELECT x FROM t",
    "WITH t(x) AS MATERIALIZED (SELECT 1) SELECT x FROM t",
    "SELECT coalesce(max(x), 0) FROM unnest(array[1, 2]) AS x",
  ])("%s", (query) => expect(readsData(query)).toBe(false));
});

describe("a query that reads something", () => {
  test.each([
    "SELECT count(*) FROM orders",
    "TABLE orders",
    "select max(created_at) from public.orders",
    'SELECT count(*) FROM "Orders"',
    "SELECT 1 FROM orders LIMIT 1",
    "SELECT EXISTS (SELECT FROM orders)",
    "SELECT (SELECT count(*) FROM orders)",
    "WITH t AS (SELECT * FROM orders) SELECT count(*) FROM t",
    "SELECT count(*) FROM generate_series(1, 2) g, orders",
    "SELECT count(*) FROM generate_series(1, 2) g JOIN orders ON true",
    "SELECT count(*) FROM (VALUES (1)) v CROSS JOIN LATERAL (SELECT * FROM orders) o",
    "SELECT check_orders()",
    "SELECT app.check_orders()",
    'SELECT "Check"()',
    "SELECT sum(total) FROM ONLY orders",
    "SELECT extract(epoch FROM max(t)) FROM orders",
    "-- how many\nSELECT count(*)\nFROM\n  orders",
    "SELECT pg_table_size('orders')",
  ])("%s", (query) => expect(readsData(query)).toBe(true));
});

describe("a count", () => {
  test.each([
    "SELECT count(*) FROM orders",
    "select COUNT(*) as n from orders where paid",
    "SELECT count(DISTINCT customer) FROM orders;",
    "SELECT count(*)::int FROM orders",
    "SELECT count(*) FILTER (WHERE paid) FROM orders",
    "SELECT count(*), max(t) FROM orders",
    "/* all */ SELECT count(*) FROM orders WHERE x IN (SELECT y FROM z GROUP BY y)",
    "SELECT count(*) n FROM orders",
  ])("%s", (query) => expect(isCountQuery(query)).toBe(true));

  test.each([
    "SELECT max(id) FROM orders",
    "SELECT count(*) - 5 FROM orders",
    "SELECT count(*) > 0 FROM orders",
    "SELECT count(*) FROM orders GROUP BY day",
    "SELECT count(*) FROM orders HAVING count(*) > 5",
    "SELECT count(*) FROM orders OFFSET 1",
    "SELECT balance FROM accounts",
    "SELECT -count(*) FROM orders",
    "",
  ])("is not: %s", (query) => expect(isCountQuery(query)).toBe(false));
});
