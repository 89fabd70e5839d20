import { describe, expect, test } from "vitest";
import { followRecoveryLog, parseLogLine } from "../../../../src/postgres/recovery/server-log.ts";

function follow(...lines: string[]) {
  const log = followRecoveryLog();
  for (const line of lines) log.line(line);
  return log;
}

describe("a line of the server's log", () => {
  test("is cut into process, severity and text", () => {
    expect(parseLogLine("startup[12] LOG:  redo starts at 0/2000028")).toEqual({
      process: "startup",
      severity: "LOG",
      text: "redo starts at 0/2000028",
    });
  });

  test("is understood before the server has read its own prefix", () => {
    const line = '2026-11-20 18:14:47.516 UTC [123] LOG:  unrecognized configuration parameter "x"';
    expect(parseLogLine(line)).toMatchObject({ process: undefined, severity: "LOG" });
    expect(parseLogLine("FATAL:  no")).toMatchObject({ process: undefined, severity: "FATAL", text: "no" });
  });

  test("is no message when it continues another or comes from a script", () => {
    expect(parseLogLine("\tsecond line")).toBeUndefined();
    expect(parseLogLine("mv: cannot stat 'x'")).toBeUndefined();
  });
});

describe("a recovery's log", () => {
  test("tells both sides of a time target, to the microsecond", () => {
    const { state } = follow(
      "startup[12] LOG:  starting point-in-time recovery to 2026-11-20 18:14:47.516544+00",
      'startup[12] LOG:  restored log file "000000010000000000000002" from archive',
      "startup[12] LOG:  redo starts at 0/2000028",
      "startup[12] LOG:  consistent recovery state reached at 0/2000120",
      'startup[12] LOG:  restored log file "000000010000000000000003" from archive',
      "startup[12] LOG:  recovery stopping before commit of transaction 745, time 2026-11-20 18:14:47.5343+00",
      "startup[12] LOG:  redo done at 0/4033F80 system usage: CPU: user: 0.00 s",
      "startup[12] LOG:  last completed transaction was at log time 2026-11-20 18:14:47.453667+00",
      "startup[12] LOG:  selected new timeline ID: 2",
      "startup[12] LOG:  archive recovery complete",
      "postmaster[10] LOG:  database system is ready to accept connections",
    );
    expect(state).toMatchObject({
      started: true,
      consistent: true,
      restoredCount: 2,
      lastRestored: "000000010000000000000003",
      stop: { kind: "transaction", outcome: "commit", xid: "745", micros: 1795198487534300n },
      lastTransactionMicros: 1795198487453667n,
      newTimeline: 2,
      complete: true,
      ready: true,
      fatal: undefined,
      badRecord: undefined,
    });
  });

  test("tells a restore point by its name, and the end of a backup", () => {
    expect(
      follow('startup[1] LOG:  recovery stopping at restore point "a "b"", time 2026-01-01 00:00:00+00').state
        .stop,
    ).toMatchObject({ kind: "restore-point", name: 'a "b"' });
    expect(follow("startup[1] LOG:  recovery stopping after reaching consistency").state.stop).toEqual({
      kind: "consistency",
    });
  });

  test("keeps the first reason of the end, with its detail", () => {
    const { state } = follow(
      "startup[1] FATAL:  recovery ended before configured recovery target was reached",
      "postmaster[2] LOG:  startup process (PID 1) exited with exit code 1",
      "postmaster[2] FATAL:  something later",
    );
    expect(state.fatal?.text).toBe("recovery ended before configured recovery target was reached");
    const detailed = follow(
      "postmaster[2] FATAL:  data directory has wrong ownership",
      "postmaster[2] HINT:  Start it so.",
    );
    expect(detailed.state.fatal?.text).toBe("data directory has wrong ownership (Start it so)");
  });

  test.each([
    "invalid record length at 0/5000060: wanted 24, got 0",
    "invalid record length at 0/5000060: expected at least 24, got 0",
    "record with incorrect prev-link 0/2A2A2A2A at 0/5800000",
    "invalid magic number 2A2A in WAL segment 000000010000000000000005, LSN 0/5800000, offset 8388608",
    "incorrect resource manager data checksum in record at 0/5800000",
    "unexpected pageaddr 0/2000000 in log segment 000000010000000000000005, offset 0",
    "WAL file is from different database system: WAL file database system identifier is 1, pg_control database system identifier is 2",
  ])("notices broken WAL before the stop, and not after it: %s", (sentence) => {
    expect(follow(`startup[1] LOG:  ${sentence}`).state.badRecord).toBe(sentence);
    const stop = "startup[1] LOG:  recovery stopping after reaching consistency";
    expect(follow(stop, `startup[1] LOG:  ${sentence}`).state.badRecord).toBeUndefined();
  });

  test("does not believe what a client's session writes", () => {
    const { state } = follow(
      "client backend[3] FATAL:  recovery ended",
      "client backend[3] LOG:  archive recovery complete",
    );
    expect(state).toMatchObject({ fatal: undefined, complete: false });
  });

  test("keeps a bounded tail", () => {
    const log = followRecoveryLog();
    for (let index = 0; index < 1_000; index += 1) log.line(`${index} ${"x".repeat(10_000)}`);
    expect(log.tail().length).toBe(200);
    expect(log.tail().every((line) => line.length <= 2_000)).toBe(true);
    expect(log.tail().at(-1)?.startsWith("999 ")).toBe(true);
  });
});
