import { describe, expect, it } from "vitest";
import { achievedLoss, achievedRto, strictest, type TimedStep } from "../../../src/drill/measure.ts";
import type { Recovery, Step } from "../../../src/record.ts";
import { parseTarget } from "../../../src/targets.ts";

function timed(kind: Step["kind"], status: Step["status"], startMs: number, endMs: number): TimedStep {
  const step: Step = {
    id: "x",
    title: "x",
    kind,
    status,
    startedAt: "",
    seconds: (endMs - startMs) / 1000,
    phases: [],
  };
  return { step, startMs, endMs };
}

function recovery(component: string, lastCommitBefore: string | null, completeUntil?: string): Recovery {
  const reached = {
    ...{ lsn: "0/1", time: null, timeline: 1, lastCommitBefore, firstCommitAfter: null },
    ...(completeUntil === undefined ? {} : { completeUntil }),
  };
  return { component, backupId: "b", target: "t", reached };
}

const START = new Date("2026-01-25T15:00:00.000Z");

describe("the achieved RTO", () => {
  it("goes from the beginning of the first step to the end of the last check", () => {
    const steps = [
      timed("run", "passed", 1000, 2000),
      timed("recover", "passed", 2000, 30_000),
      timed("check", "passed", 30_000, 31_000),
      timed("run", "passed", 31_000, 99_000),
    ];
    expect(achievedRto(steps)).toBe(30);
  });

  it("does not count steps that were skipped", () => {
    const steps = [
      timed("run", "skipped", 0, 0),
      timed("recover", "passed", 5000, 6000),
      timed("check", "passed", 6000, 7000),
      timed("check", "skipped", 9000, 9000),
    ];
    expect(achievedRto(steps)).toBe(2);
  });

  it("does not count a look that nobody waits for, which must pass all the same", () => {
    const look = { ...timed("check", "passed", 7000, 60_000), aside: true };
    const before = [timed("recover", "passed", 5000, 6000), timed("check", "passed", 6000, 7000)];
    expect(achievedRto([...before, look])).toBe(2);
    expect(achievedRto([...before, look, timed("run", "passed", 60_000, 61_000)])).toBe(2);
    expect(achievedRto([...before, look, timed("check", "passed", 60_000, 61_000)])).toBe(3);
    expect(achievedRto([...before, { ...timed("check", "failed", 7000, 8000), aside: true }])).toBeNull();
  });

  it.each(["failed", "unverified"] as const)("is not measured when a step is %s", (status) => {
    expect(achievedRto([timed("recover", "passed", 0, 1), timed("check", status, 1, 2)])).toBeNull();
    expect(achievedRto([timed("run", status, 0, 1), timed("check", "passed", 1, 2)])).toBeNull();
  });

  it("is not measured without a check, and not without any step", () => {
    expect(achievedRto([timed("recover", "passed", 0, 1)])).toBeNull();
    expect(achievedRto([])).toBeNull();
  });
});

describe("the achieved RPO", () => {
  it("is bounded by the beginning of the backup when replay met no commit", () => {
    const recoveries = [recovery("db", null, "2026-01-25T14:58:30.500000Z")];
    const loss = achievedLoss(recoveries, parseTarget("immediate"), START);
    expect(loss).toEqual({ rpoSeconds: 89.5, unobserved: [], beyondTarget: [], inFuture: [] });
  });

  it("does not take that bound when a commit was met", () => {
    const recoveries = [recovery("db", "2026-01-25T14:59:00.000000Z", "2026-01-25T14:58:30.500000Z")];
    expect(achievedLoss(recoveries, parseTarget("latest"), START).rpoSeconds).toBe(60);
  });

  it("is the time from the last commit to a target in time, to the microsecond", () => {
    const target = parseTarget("2026-01-25T14:30:00.000000Z");
    expect(achievedLoss([recovery("db", "2026-01-25T14:29:57.812345Z")], target, START).rpoSeconds).toBe(
      2.187655,
    );
  });

  it("counts a while ago back from the beginning", () => {
    const loss = achievedLoss([recovery("db", "2026-01-25T14:44:00Z")], parseTarget("-15m"), START);
    expect(loss.rpoSeconds).toBe(60);
  });

  it.each(["latest", "immediate"])("is the time to the beginning of the drill for %s", (target) => {
    const loss = achievedLoss([recovery("db", "2026-01-25T14:59:00Z")], parseTarget(target), START);
    expect(loss.rpoSeconds).toBe(60);
  });

  it("is zero, not less, when the database's clock is ahead", () => {
    const loss = achievedLoss([recovery("db", "2026-01-25T15:00:03Z")], parseTarget("latest"), START);
    expect(loss).toEqual({ rpoSeconds: 0, unobserved: [], beyondTarget: [], inFuture: [] });
  });

  it.each(["latest", "immediate"])("is not measured for %s when the clocks are minutes apart", (target) => {
    const loss = achievedLoss([recovery("db", "2026-01-25T15:02:00Z")], parseTarget(target), START);
    expect(loss).toEqual({ rpoSeconds: null, unobserved: [], beyondTarget: [], inFuture: ["db"] });
  });

  it("is that of the worst component", () => {
    const all = [recovery("a", "2026-01-25T14:59:59Z"), recovery("b", "2026-01-25T14:50:00Z")];
    expect(achievedLoss(all, parseTarget("latest"), START).rpoSeconds).toBe(600);
  });

  it("is not measured when one component's last commit was not seen", () => {
    const all = [recovery("a", "2026-01-25T14:59:59Z"), recovery("b", null)];
    expect(achievedLoss(all, parseTarget("latest"), START)).toEqual({
      rpoSeconds: null,
      unobserved: ["b"],
      beyondTarget: [],
      inFuture: [],
    });
  });

  it("is not measured when nothing was recovered", () => {
    expect(achievedLoss([], parseTarget("latest"), START).rpoSeconds).toBeNull();
  });

  it("is not measured, and the recovery is wrong, when a commit lies after a target in time", () => {
    const target = parseTarget("2026-01-25T14:30:00Z");
    expect(achievedLoss([recovery("db", "2026-01-25T14:30:00.000001Z")], target, START)).toEqual({
      rpoSeconds: null,
      unobserved: [],
      beyondTarget: ["db"],
      inFuture: [],
    });
    expect(achievedLoss([recovery("db", "2026-01-25T14:30:00Z")], target, START).rpoSeconds).toBe(0);
  });
});

describe("objectives", () => {
  it("of several are the strictest that are declared", () => {
    const all = [
      { rtoSeconds: 100, rpoSeconds: null },
      { rtoSeconds: 50, rpoSeconds: null },
      { rtoSeconds: null, rpoSeconds: null },
    ];
    expect(strictest(all)).toEqual({ rtoSeconds: 50, rpoSeconds: null });
    expect(strictest([])).toEqual({ rtoSeconds: null, rpoSeconds: null });
  });
});
