import { describe, expect, test } from "vitest";
import { DefectError, ToolError } from "../../../../src/errors.ts";
import type { Goal } from "../../../../src/postgres/goal.ts";
import { proveStop } from "../../../../src/postgres/recovery/recovery-proof.ts";
import { followRecoveryLog, type RecoveryLog } from "../../../../src/postgres/recovery/server-log.ts";

const END = "startup[1] LOG:  archive recovery complete";
const AT = "2026-01-25 14:30:00";

function stateOf(...lines: string[]): RecoveryLog["state"] {
  const log = followRecoveryLog();
  for (const line of lines) log.line(line);
  return log.state;
}

function last(time: string): string {
  return `startup[1] LOG:  last completed transaction was at log time ${time}`;
}

function stop(what: string, time: string): string {
  return `startup[1] LOG:  recovery stopping before ${what} of transaction 7, time ${time}`;
}

describe("the proof of a time target", () => {
  const goal: Goal = {
    kind: "time",
    micros: BigInt(Date.parse("2026-01-25T14:30:00Z")) * 1000n,
    exclusive: false,
  };

  test("names the commits on both sides", () => {
    const state = stateOf(stop("commit", `${AT}.000001+00`), last(`${AT}+00`), END);
    expect(proveStop(goal, state, "b")).toEqual({
      time: "2026-01-25T14:30:00.000000Z",
      lastCommitBefore: "2026-01-25T14:30:00.000000Z",
      firstCommitAfter: "2026-01-25T14:30:00.000001Z",
    });
  });

  test("takes an abort behind the target for a stop, but not for a commit", () => {
    const state = stateOf(stop("abort", `${AT}.5+00`), END);
    expect(proveStop(goal, state, "b")).toMatchObject({ lastCommitBefore: null, firstCommitAfter: null });
  });

  test.each([
    ["the stop lies at or before the target", [stop("commit", `${AT}+00`), END]],
    ["a transaction behind the target was replayed", [stop("commit", `${AT}.5+00`), last(`${AT}.1+00`), END]],
    [
      "it stopped at a restore point",
      [`startup[1] LOG:  recovery stopping at restore point "x", time ${AT}+00`, END],
    ],
    [
      "it met broken WAL on the way",
      [
        "startup[1] LOG:  invalid record length at 0/3000000: wanted 24, got 0",
        stop("commit", `${AT}.5+00`),
        END,
      ],
    ],
  ])("fails when %s", (_why, lines) => {
    expect(() => proveStop(goal, stateOf(...lines), "b")).toThrow(DefectError);
  });

  test.each([
    ["there is no stop in the log", [END]],
    ["recovery is not said to be complete", [stop("commit", `${AT}.5+00`)]],
  ])("is not given when %s", (_why, lines) => {
    expect(() => proveStop(goal, stateOf(...lines), "b")).toThrow(ToolError);
  });
});

describe("the proof of a restore point and of the end of a backup", () => {
  const point = `startup[1] LOG:  recovery stopping at restore point "drillbook-1", time ${AT}.25+00`;
  const consistency = "startup[1] LOG:  recovery stopping after reaching consistency";

  test("is the point's name", () => {
    const goal: Goal = { kind: "restore-point", name: "drillbook-1", lsn: 0n, micros: 0n };
    expect(proveStop(goal, stateOf(point, last(`${AT}+00`), END), "b")).toEqual({
      time: "1970-01-01T00:00:00.000000Z",
      lastCommitBefore: "2026-01-25T14:30:00.000000Z",
      firstCommitAfter: null,
    });
    expect(() => proveStop({ ...goal, name: "drillbook-2" }, stateOf(point, END), "b")).toThrow(DefectError);
    expect(() => proveStop(goal, stateOf(consistency, END), "b")).toThrow(DefectError);
    // The archive says that it stands for a later moment than the one it was made at.
    const later = { ...goal, micros: 4_000_000_000_000_000n };
    expect(() => proveStop(later, stateOf(point, last(`${AT}+00`), END), "b")).toThrow(DefectError);
  });

  test("is consistency", () => {
    expect(proveStop({ kind: "immediate" }, stateOf(consistency, END), "b").time).toBeNull();
    expect(() => proveStop({ kind: "immediate" }, stateOf(point, END), "b")).toThrow(DefectError);
  });
});

describe("the proof of what lies at the target itself", () => {
  const micros = BigInt(Date.parse("2026-01-25T14:30:00Z")) * 1000n;
  const line = (text: string) => `startup[1] LOG:  recovery stopping ${text}`;

  test("is for a time that excludes: nothing of that microsecond was replayed", () => {
    const goal: Goal = { kind: "time", micros, exclusive: true };
    const state = stateOf(stop("commit", `${AT}+00`), last("2026-01-25 14:29:59.999999+00"), END);
    expect(proveStop(goal, state, "b")).toMatchObject({ firstCommitAfter: "2026-01-25T14:30:00.000000Z" });
    expect(() => proveStop(goal, stateOf(stop("commit", `${AT}+00`), last(`${AT}+00`), END), "b")).toThrow(
      DefectError,
    );
    expect(() => proveStop({ ...goal, exclusive: false }, state, "b")).toThrow(DefectError);
  });

  test("is for an LSN: the record at or behind it, on the right side of it", () => {
    const goal: Goal = { kind: "lsn", lsn: 0x3000100n, exclusive: false };
    const at = (side: string, position: string) =>
      stateOf(line(`${side} WAL location (LSN) "${position}"`), last(`${AT}+00`), END);
    expect(proveStop(goal, at("after", "0/3000108"), "b")).toEqual({
      ...{ time: "2026-01-25T14:30:00.000000Z", firstCommitAfter: null },
      lastCommitBefore: "2026-01-25T14:30:00.000000Z",
    });
    expect(proveStop({ ...goal, exclusive: true }, at("before", "0/3000100"), "b")).toBeDefined();
    expect(() => proveStop(goal, at("before", "0/3000108"), "b")).toThrow(DefectError);
    expect(() => proveStop(goal, at("after", "0/30000F8"), "b")).toThrow(DefectError);
    expect(() => proveStop(goal, stateOf(stop("commit", `${AT}+00`), END), "b")).toThrow(DefectError);
  });

  test("is for a transaction: its own end, on the right side of it", () => {
    const goal: Goal = { kind: "xid", xid: 7n, exclusive: true };
    const before = stateOf(stop("commit", `${AT}+00`), last("2026-01-25 14:29:59+00"), END);
    expect(proveStop(goal, before, "b")).toEqual({
      time: "2026-01-25T14:30:00.000000Z",
      lastCommitBefore: "2026-01-25T14:29:59.000000Z",
      firstCommitAfter: "2026-01-25T14:30:00.000000Z",
    });
    const after = stateOf(line(`after commit of transaction 7, time ${AT}+00`), last(`${AT}+00`), END);
    expect(proveStop({ ...goal, exclusive: false }, after, "b")).toMatchObject({ firstCommitAfter: null });
    expect(() => proveStop(goal, after, "b")).toThrow(DefectError);
    expect(() => proveStop({ ...goal, xid: 8n }, before, "b")).toThrow(DefectError);
  });
});
