import { expect, test } from "vitest";
import { UserError } from "../../../../src/errors.ts";
import { parseUri } from "../../../../src/postgres/source/uri.ts";

test("a URI is read with all its parts decoded", () => {
  expect(
    parseUri("postgresql://back%40up:p%3Aw%2F@db.example.com:6543/shop%20db?sslmode=disable", {}),
  ).toEqual({
    host: "db.example.com",
    port: 6543,
    user: "back@up",
    password: "p:w/",
    database: "shop db",
    tls: { kind: "off" },
    connectTimeoutSeconds: 15,
    label: "db.example.com:6543",
  });
});

test("what is left out is what libpq takes", () => {
  const endpoint = parseUri("postgres://backup@db.example.com", {});
  expect(endpoint).toMatchObject({ port: 5432, database: "backup", password: undefined });
  expect(endpoint.tls).toMatchObject({ kind: "on", fallback: true });
  expect(parseUri("postgres://db.example.com/shop", { PGUSER: "u", PGPASSWORD: "p" })).toMatchObject({
    user: "u",
    password: "p",
    database: "shop",
  });
});

test.each([
  ["postgresql:///shop?host=/run/postgresql&port=5433&user=u", "/run/postgresql", 5433],
  ["postgresql://u@/shop?host=/run/postgresql", "/run/postgresql", 5432],
  ["postgresql://u:p@%2Frun%2Fpostgresql:5433/shop", "/run/postgresql", 5433],
])("%s means a socket", (uri, host, port) => {
  const endpoint = parseUri(uri, {});
  expect(endpoint).toMatchObject({ host, port, user: "u", database: "shop", tls: { kind: "off" } });
  expect(endpoint.label).toBe(`${host}/.s.PGSQL.${port}`);
});

test("an IPv6 address stands in brackets", () => {
  expect(parseUri("postgresql://u@[::1]:5433/shop", {})).toMatchObject({
    host: "::1",
    port: 5433,
    label: "[::1]:5433",
  });
});

test("a password may hold an at sign that was not encoded", () => {
  expect(parseUri("postgresql://u:p@ss@host/shop", {})).toMatchObject({ password: "p@ss", host: "host" });
});

test.each([
  ["disable", { kind: "off" }],
  ["prefer", { kind: "on", fallback: true, options: { rejectUnauthorized: false } }],
  ["require", { kind: "on", fallback: false, options: { rejectUnauthorized: false } }],
  ["no-verify", { kind: "on", fallback: false, options: { rejectUnauthorized: false } }],
  ["verify-full", { kind: "on", fallback: false, options: {} }],
])("sslmode=%s is what libpq means by it", (mode, tls) => {
  expect(parseUri(`postgresql://u@h/d?sslmode=${mode}`, {}).tls).toEqual(tls);
});

test("verify-ca checks the chain but not the name", () => {
  const { tls } = parseUri("postgresql://u@h/d?sslmode=verify-ca", {});
  expect(tls).toMatchObject({
    kind: "on",
    fallback: false,
    options: { checkServerIdentity: expect.any(Function) },
  });
  expect(tls).not.toHaveProperty("options.rejectUnauthorized");
});

test.each([
  ["mysql://u:secret@h/d", /is not a PostgreSQL URI: write it as postgresql:\/\//],
  ["host=h user=u password=secret", /is not a PostgreSQL URI/],
  ["", /is not a PostgreSQL URI/],
  ["postgresql:///d", /names no host/],
  ["postgresql://u:secret@h:70000/d", /port "70000" is not a port/],
  ["postgresql://u:secret@a:1,b:2/d", /must name one host and one port/],
  ["postgresql://u:sec%ret@h/d", /password in the connection has a "%"/],
  ["postgresql://u:secret@h/d?sslmode=yes", /sslmode "yes" is none: use one of disable, /],
  [
    "postgresql://u:secret@h/d?sslmode=verify-ca&sslrootcert=/nowhere.pem",
    /sslrootcert cannot be read: .*nowhere\.pem/,
  ],
])("%s is refused without repeating it", (uri, message) => {
  const error = (() => {
    try {
      return parseUri(uri, {});
    } catch (caught) {
      return caught;
    }
  })();
  expect(error).toBeInstanceOf(UserError);
  expect((error as Error).message).toMatch(message);
  expect((error as Error).message).not.toMatch(/sec(%)?ret/);
});
