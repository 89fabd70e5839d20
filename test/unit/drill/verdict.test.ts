import { describe, expect, it } from "vitest";
import {
  assertPassed,
  type Evidence,
  judge,
  sentenceOf,
  statusOfError,
  verdictOf,
} from "../../../src/drill/verdict.ts";
import { AbortedError, DefectError, ToolError, UserError } from "../../../src/errors.ts";
import { sampleRecord } from "../report/sample.ts";

const { steps, checks, objectives } = sampleRecord();

/** A drill that passed, with changes. */
function evidence(changes: Partial<Evidence> = {}): Evidence {
  const loss = { rpoSeconds: 2.2, unobserved: [], beyondTarget: [], inFuture: [] };
  return { steps, checks, objectives, rtoSeconds: 41.8, loss, stopped: false, ...changes };
}

function changed<T>(list: readonly T[], index: number, changes: Partial<T>): T[] {
  return list.map((item, at) => (at === index ? { ...item, ...changes } : item));
}

describe("the verdict", () => {
  it("is passed when nothing speaks against it", () => {
    expect(judge(evidence())).toEqual([]);
    expect(verdictOf([])).toBe("passed");
  });

  it.each<[string, Partial<Evidence>, string, RegExp]>([
    [
      "a recovery found a defect",
      { steps: changed(steps, 0, { status: "failed", message: "s3://b/k is altered." }) },
      "failed",
      /"Recover db" failed: s3:\/\/b\/k is altered\./,
    ],
    [
      "a recovery could not run",
      { steps: changed(steps, 0, { status: "unverified", message: "The disk is full." }) },
      "unverified",
      /"Recover db" could not be done: The disk is full\./,
    ],
    [
      "a check failed",
      { checks: changed(checks, 0, { status: "failed", actual: "0" }) },
      "failed",
      /A check of db failed: SELECT count.*expected >= 1, found 0\./,
    ],
    [
      "a check of the scenario failed",
      { checks: changed(checks, 1, { status: "failed" }) },
      "failed",
      /A check of the scenario failed/,
    ],
    [
      "a check could not run",
      { checks: changed(checks, 0, { status: "unverified", actual: "no permission" }) },
      "unverified",
      /could not run: .*no permission/,
    ],
    ["no check ran", { checks: [] }, "unverified", /No check ran/],
    ["the drill was stopped", { stopped: true }, "unverified", /stopped from outside/],
    [
      "the RTO was missed",
      { rtoSeconds: 5460 },
      "failed",
      /took 1 h 31 min, 1 min more than the RTO of 1 h 30 min/,
    ],
    [
      "the RPO was missed",
      { loss: { rpoSeconds: 90_000, unobserved: [], beyondTarget: [], inFuture: [] } },
      "failed",
      /spans 1 d 1 h, 1 h more than the RPO of 1 d/,
    ],
    ["the RTO was not measured", { rtoSeconds: null }, "unverified", /not measured/],
    [
      "the RPO was not measured",
      { loss: { rpoSeconds: null, unobserved: ["db"], beyondTarget: [], inFuture: [] } },
      "unverified",
      /RPO was not measured: no commit was seen in the recovery of db/,
    ],
    [
      "a commit lies in the future of this machine",
      { loss: { rpoSeconds: null, unobserved: [], beyondTarget: [], inFuture: ["db"] } },
      "unverified",
      /RPO was not measured: the last commit of db is later than this machine's time/,
    ],
    [
      "the recovery went too far",
      { loss: { rpoSeconds: null, unobserved: [], beyondTarget: ["db"], inFuture: [] } },
      "failed",
      /beyond its target/,
    ],
  ])("is not passed when %s", (_, changes, expected, reason) => {
    const reasons = judge(evidence(changes));
    expect(verdictOf(reasons)).toBe(expected);
    expect(reasons.map((one) => one.text).join("\n")).toMatch(reason);
  });

  it("is failed when something failed and something else could not run, and says so first", () => {
    const mixed = changed(changed(checks, 0, { status: "unverified" }), 1, { status: "failed" });
    const reasons = judge(evidence({ checks: mixed }));
    expect(reasons.map((one) => one.verdict)).toEqual(["failed", "unverified"]);
    expect(verdictOf(reasons)).toBe("failed");
  });

  it("does not ask for objectives that nobody declared", () => {
    const none = { rtoSeconds: null, rpoSeconds: null };
    const loss = { rpoSeconds: null, unobserved: ["db"], beyondTarget: [], inFuture: [] };
    expect(judge(evidence({ objectives: none, rtoSeconds: null, loss }))).toEqual([]);
  });

  it("counts checks that are too many to be listed", () => {
    const many = Array.from({ length: 50 }, () => ({
      ...(checks[0] ?? sampleCheck),
      status: "failed" as const,
    }));
    const reasons = judge(evidence({ checks: many }));
    expect(reasons).toHaveLength(21);
    expect(reasons.at(-1)).toEqual({ verdict: "failed", text: "30 more checks are not passed." });
  });
});

const sampleCheck = { component: "db", check: "x", status: "failed" as const, expected: "1", actual: "0" };

describe("an error", () => {
  it("makes a step failed only when it proves a defect", () => {
    expect(statusOfError(new DefectError("s3://b/k", "altered"))).toBe("failed");
    for (const error of [
      new UserError("x"),
      new ToolError("x"),
      new AbortedError(),
      new TypeError("x"),
      "x",
    ]) {
      expect(statusOfError(error)).toBe("unverified");
    }
  });

  it("names the object of a defect, once", () => {
    expect(sentenceOf(new DefectError("s3://b/k", "It is altered."))).toBe("s3://b/k: It is altered.");
    expect(sentenceOf(new DefectError("s3://b/k", "s3://b/k is altered."))).toBe("s3://b/k is altered.");
  });
});

describe("assertPassed", () => {
  it("is silent when passed", () => {
    expect(() => assertPassed({ verdict: "passed", reasons: [] })).not.toThrow();
  });

  it("has a problem for each reason, the verdict in the first", () => {
    try {
      assertPassed({ verdict: "failed", reasons: ["One.", "Two."] });
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(UserError);
      expect((error as UserError).problems.map((one) => one.message)).toEqual([
        "The verdict is failed: One.",
        "Two.",
      ]);
    }
  });
});
