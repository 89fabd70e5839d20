import { describe, expect, test } from "vitest";
import type { WalSegment } from "../../../../src/catalog/wal.ts";
import { DefectError, ToolError, UserError } from "../../../../src/errors.ts";
import type { Goal } from "../../../../src/postgres/goal.ts";
import { explainFailure } from "../../../../src/postgres/recovery/recovery-failure.ts";
import { followRecoveryLog } from "../../../../src/postgres/recovery/server-log.ts";

const STARTED = "startup[1] LOG:  starting point-in-time recovery to 2026-01-25 14:30:00+00";
const ENDED = "startup[1] FATAL:  recovery ended before configured recovery target was reached";

function segment(number: number): WalSegment {
  const name = `00000001000000000000000${number}`;
  const key = `db/wal/00000001/${name}.zst`;
  return { name, timeline: 1, number, key, sealed: false, storedBytes: 1, modified: new Date(0) };
}

function explain(
  lines: string[],
  failures: Record<string, unknown> = {},
  ending = "exit code 1",
  goal: Goal = { kind: "immediate" },
): Error {
  const log = followRecoveryLog();
  for (const line of lines) log.line(line);
  return explainFailure({
    goal,
    log: log.state,
    ending,
    segments: [segment(2), segment(3), segment(4)],
    segmentBytes: 16 * 2 ** 20,
    failureOf: (name) => failures[name],
    describe: (key) => `/store/${key}`,
    backupSubject: "/store/backup",
  });
}

describe("a server that ended before its target", () => {
  test("is explained by the WAL file that could not be had", () => {
    const name = segment(3).name;
    const cause = new DefectError("/store/x", "It was altered.");
    const fatal = `startup[1] FATAL:  could not restore file "${name}" from archive: child process exited with exit code 203`;
    expect(explain([STARTED, fatal], { [name]: cause })).toBe(cause);
    expect(explain([STARTED, fatal])).toBeInstanceOf(ToolError);
  });

  test.each([
    ["invalid record length at 0/3000060: wanted 24, got 0", 3],
    ["invalid magic number 2A2A in WAL segment 000000010000000000000004, LSN 0/4800000, offset 8388608", 4],
    ["unexpected pageaddr 0/2000000 in log segment 000000010000000000000003, offset 0", 3],
  ])("blames the segment of the broken record: %s", (sentence, number) => {
    const error = explain([STARTED, `startup[1] LOG:  ${sentence}`, ENDED]);
    expect(error).toBeInstanceOf(DefectError);
    expect(error.message).toContain(`/store/${segment(number).key}`);
    expect(error.message).toContain(sentence);
  });

  test("blames the backup when replay cannot begin where backup_label says", () => {
    const fatal = "startup[1] FATAL:  could not locate required checkpoint record at 0/1400080";
    const error = explain([fatal]);
    expect(error).toBeInstanceOf(DefectError);
    expect(error).toMatchObject({ subject: "/store/backup" });
  });

  test("blames the last segment that was replayed, or else the backup", () => {
    const restored = `startup[1] LOG:  restored log file "${segment(4).name}" from archive`;
    expect(explain([STARTED, restored, ENDED])).toMatchObject({ subject: `/store/${segment(4).key}` });
    expect(explain([STARTED, ENDED])).toMatchObject({ subject: "/store/backup" });
  });

  test.each([
    [
      [
        "postmaster[1] LOG:  could not bind IPv4 address",
        "postmaster[1] FATAL:  could not create any TCP/IP sockets",
      ],
      /could not bind/,
    ],
    [
      [
        'LOG:  unrecognized configuration parameter "x" in file "f" line 1',
        'FATAL:  configuration file "f" contains errors',
      ],
      /unrecognized configuration parameter "x"/,
    ],
    [
      [STARTED, 'startup[1] FATAL:  could not extend file "base/5/1": No space left on device'],
      /No space left/,
    ],
    [
      [STARTED, 'startup[1] FATAL:  could not access file "timescaledb": No such file or directory'],
      /timescaledb/,
    ],
    [[], /gave no reason/],
  ])("is a matter of this machine when %j", (lines, message) => {
    const error = explain(lines);
    expect(error).toBeInstanceOf(ToolError);
    expect(error.message).toMatch(message);
  });

  test("that was killed may have lacked memory", () => {
    expect(explain([STARTED], {}, "signal SIGKILL").message).toMatch(/signal SIGKILL.*memory/);
  });

  test("that ran out of WAL looking for a transaction is nobody's damage, when all WAL was given", () => {
    const fatal = "startup[1] FATAL:  recovery ended before configured recovery target was reached";
    const restored = (number: number) =>
      `startup[1] LOG:  restored log file "00000001000000000000000${number}" from archive`;
    const started = "startup[1] LOG:  starting point-in-time recovery to XID 7421";
    const goal: Goal = { kind: "xid", xid: 7421n, exclusive: false };
    const whole = explain([started, restored(3), restored(4), fatal], {}, "exit code 1", goal);
    expect(whole).toBeInstanceOf(UserError);
    expect(whole.message).toMatch(/neither a commit nor an abort of transaction 7421/);
    expect(explain([started, restored(3), fatal], {}, "exit code 1", goal)).toBeInstanceOf(DefectError);
    expect(explain([started, restored(3), restored(4), fatal])).toBeInstanceOf(DefectError);
  });
});
