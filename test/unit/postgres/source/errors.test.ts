import { describe, expect, test } from "vitest";
import { AbortedError, ToolError, UserError } from "../../../../src/errors.ts";
import { explain, quoteName, WalRemovedError } from "../../../../src/postgres/source/errors.ts";
import { parseUri } from "../../../../src/postgres/source/uri.ts";

const endpoint = parseUri("postgresql://Ops:hunter2@db:5432/shop", {});

function said(code: string, message: string, detail?: string): Error {
  return Object.assign(new Error(message), { code, severity: "ERROR", detail });
}

function socketError(code: string, message = code): Error {
  return Object.assign(new Error(message), { code });
}

describe("an error of the server", () => {
  test.each([
    [
      "57P03",
      "the database system is starting up",
      /is not ready \(the database system is starting up\): run the backup again/,
    ],
    ["57P01", "terminating connection due to administrator command", /ended the connection while copying/],
    [
      "57014",
      "canceling statement due to statement timeout",
      /cancelled the work while copying: canceling statement/,
    ],
    [
      "53100",
      'could not write to file "x": No space left on device',
      /disk of PostgreSQL at db:5432 is full/,
    ],
    ["53200", "out of memory", /is out of memory while copying/],
    ["55006", 'replication slot "drillbook" is active for PID 4711', /slot is in use: .* PID 4711\. Wait/],
    [
      "55000",
      "WAL level not sufficient for making an online backup",
      /wal_level=minimal.*restart the server/,
    ],
    [
      "55000",
      "replication slots can only be used if max_replication_slots > 0",
      /set max_replication_slots to at least 1/,
    ],
    ["55000", "cannot use a logical replication slot for physical replication", /logical one/],
    [
      "42501",
      "permission denied for function pg_switch_wal",
      /"Ops" lacks a privilege at db:5432 while copying: permission denied for function pg_switch_wal/,
    ],
    ["42501", "permission denied for table orders", /GRANT SELECT ON orders TO "Ops"/],
    ["42501", "must be superuser or replication role to start walsender", /ALTER ROLE "Ops" REPLICATION/],
    ["42501", "permission denied to start WAL sender", /ALTER ROLE "Ops" REPLICATION/],
    ["28000", 'role "Ops" does not exist', /has no role "Ops"/],
    [
      "28000",
      'Peer authentication failed for user "Ops"',
      /does not let "Ops" in: Peer authentication failed/,
    ],
    ["55000", "the standby was promoted during online backup", /was promoted during the base backup/],
    [
      "55000",
      "WAL generated with full_page_writes=off was replayed since last restartpoint",
      /full_page_writes = off: set it to on/,
    ],
    ["40001", "canceling statement due to conflict with recovery", /hot_standby_feedback = on/],
    ["40001", "could not serialize access", /failed while copying: .*SQLSTATE 40001/],
    ["XX001", "invalid page in block 0", /failed while copying: invalid page in block 0 \(SQLSTATE XX001\)/],
  ])("%s %s is a sentence", (code, message, sentence) => {
    const error = explain(said(code, message), endpoint, "copying");
    expect(error instanceof UserError || error instanceof ToolError).toBe(true);
    expect(error.message).toMatch(sentence);
    expect(error.message).toMatch(/\.$/);
    expect(error.message).not.toContain("hunter2");
  });

  test("that WAL has been removed is told apart, because a full backup can go on", () => {
    for (const code of ["58P01", "XX000"]) {
      const removed = said(code, "requested WAL segment 000000010000000000000002 has already been removed");
      expect(explain(removed, endpoint, "streaming WAL")).toBeInstanceOf(WalRemovedError);
    }
    expect(explain(said("58P01", 'could not open file "x"'), endpoint, "copying")).toBeInstanceOf(ToolError);
  });
});

describe("an error of the network", () => {
  test.each([
    ["ECONNREFUSED", /Nothing listens at db:5432/],
    ["ENOTFOUND", /host name "db" cannot be resolved/],
    ["EHOSTUNREACH", /does not answer/],
    ["ETIMEDOUT", /does not answer/],
    ["ECONNRESET", /broke while copying/],
    ["EPIPE", /broke while copying/],
    ["CERT_HAS_EXPIRED", /TLS connection to PostgreSQL at db:5432 failed/],
    ["DEPTH_ZERO_SELF_SIGNED_CERT", /check the server's certificate, sslmode and sslrootcert/],
    ["ERR_TLS_CERT_ALTNAME_INVALID", /TLS connection/],
  ])("%s is a sentence", (code, sentence) => {
    const error = explain(socketError(code), endpoint, "copying");
    expect(error).toBeInstanceOf(ToolError);
    expect(error.message).toMatch(sentence);
  });
});

test("what already is a sentence passes, and a bug stays a bug", () => {
  for (const error of [new AbortedError(), new UserError("x"), new TypeError("x is not a function")]) {
    expect(explain(error, endpoint, "copying")).toBe(error);
  }
});

test.each([
  ["backup", "backup"],
  ["Backup", '"Backup"'],
  ['a"b', '"a""b"'],
  ["drop table", '"drop table"'],
])("the role %s is written %s in a statement to copy", (name, written) => {
  expect(quoteName(name)).toBe(written);
});
