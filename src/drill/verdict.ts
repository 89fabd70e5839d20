import { AbortedError, DefectError, messageOf, UserError } from "../errors.ts";
import type { CheckResult, Step, Verdict } from "../record.ts";
import { formatDuration } from "../values.ts";
import type { Loss, Objectives } from "./measure.ts";

/** Why a drill is not passed: a sentence, and what it makes of the verdict. */
export interface Reason {
  readonly verdict: "failed" | "unverified";
  readonly text: string;
}

export interface Evidence {
  readonly steps: readonly Step[];
  readonly checks: readonly CheckResult[];
  readonly objectives: Objectives;
  readonly rtoSeconds: number | null;
  readonly loss: Loss;
  /** The drill was stopped from outside. */
  readonly stopped: boolean;
}

const MOST_CHECKS = 20;

/** `failed` if anything was proven wrong, else `unverified` if anything was left unproven, else `passed`. */
export function verdictOf(reasons: readonly Reason[]): Verdict {
  if (reasons.some((reason) => reason.verdict === "failed")) return "failed";
  return reasons.length > 0 ? "unverified" : "passed";
}

/** What an error makes of a step: proven bad, or a drill that could not run. */
export function statusOfError(error: unknown): "failed" | "unverified" {
  return error instanceof DefectError ? "failed" : "unverified";
}

/** The sentence of an error; that of a defect names its object. */
export function sentenceOf(error: unknown): string {
  const message = messageOf(error);
  if (error instanceof DefectError && !message.includes(error.subject)) return `${error.subject}: ${message}`;
  return error instanceof AbortedError ? "It was stopped from outside before it was done." : message;
}

/** Everything that keeps a drill from being passed, the gravest kind first. */
export function judge(evidence: Evidence): Reason[] {
  const reasons = [...ofSteps(evidence), ...ofChecks(evidence.checks), ...ofObjectives(evidence)];
  const { objectives, rtoSeconds, loss } = evidence;
  const open =
    (objectives.rtoSeconds !== null && rtoSeconds === null) ||
    (objectives.rpoSeconds !== null && loss.rpoSeconds === null);
  if (open && reasons.length === 0) {
    reasons.push({
      verdict: "unverified",
      text: "An objective was not measured, so nothing says that it is met.",
    });
  }
  return [
    ...reasons.filter((one) => one.verdict === "failed"),
    ...reasons.filter((one) => one.verdict !== "failed"),
  ];
}

function ofSteps({ steps, checks, stopped }: Evidence): Reason[] {
  const reasons: Reason[] = [];
  for (const step of steps) {
    if (step.status !== "failed" && step.status !== "unverified") continue;
    // The results of its checks say more than the step itself.
    if (step.kind === "check" && step.message === undefined) continue;
    const what = step.status === "failed" ? "failed" : "could not be done";
    reasons.push({
      verdict: step.status,
      text: `"${step.title}" ${what}: ${step.message ?? "no reason is known."}`,
    });
  }
  if (stopped)
    reasons.push({ verdict: "unverified", text: "The drill was stopped from outside before it was done." });
  if (checks.length === 0 && reasons.length === 0) {
    reasons.push({
      verdict: "unverified",
      text: "No check ran, so nothing proves that the recovered data is good.",
    });
  }
  return reasons;
}

function ofChecks(checks: readonly CheckResult[]): Reason[] {
  const bad = checks.filter((check) => check.status !== "passed");
  const order = [
    ...bad.filter((check) => check.status === "failed"),
    ...bad.filter((check) => check.status !== "failed"),
  ];
  const reasons: Reason[] = order.slice(0, MOST_CHECKS).map((check) => {
    const where = check.component === "" ? "A check of the scenario" : `A check of ${check.component}`;
    if (check.status === "unverified") {
      return { verdict: "unverified", text: `${where} could not run: ${check.check}: ${check.actual}` };
    }
    return {
      verdict: "failed",
      text: `${where} failed: ${check.check}: expected ${check.expected}, found ${check.actual}.`,
    };
  });
  const rest = order.slice(MOST_CHECKS);
  if (rest.length > 0) {
    const verdict = rest.some((check) => check.status === "failed") ? "failed" : "unverified";
    reasons.push({ verdict, text: `${rest.length} more checks are not passed.` });
  }
  return reasons;
}

function ofObjectives({ objectives, rtoSeconds, loss }: Evidence): Reason[] {
  const reasons: Reason[] = [];
  if (objectives.rtoSeconds !== null && rtoSeconds !== null && rtoSeconds > objectives.rtoSeconds) {
    reasons.push(miss("RTO", "The recovery took", rtoSeconds, objectives.rtoSeconds));
  }
  for (const component of loss.beyondTarget) {
    const text = `The recovery of ${component} went beyond its target: a later commit is in the recovered data.`;
    reasons.push({ verdict: "failed", text });
  }
  if (objectives.rpoSeconds === null) return reasons;
  if (loss.rpoSeconds !== null && loss.rpoSeconds > objectives.rpoSeconds) {
    reasons.push(miss("RPO", "The data lost spans", loss.rpoSeconds, objectives.rpoSeconds));
  }
  if (loss.unobserved.length > 0) {
    const text = `The RPO was not measured: no commit was seen in the recovery of ${loss.unobserved.join(", ")}.`;
    reasons.push({ verdict: "unverified", text });
  }
  if (loss.inFuture.length > 0) {
    const text = `The RPO was not measured: the last commit of ${loss.inFuture.join(", ")} is later than this machine's time, so one of the clocks is wrong.`;
    reasons.push({ verdict: "unverified", text });
  }
  return reasons;
}

function miss(name: string, what: string, achieved: number, objective: number): Reason {
  const by = formatDuration(achieved - objective);
  return {
    verdict: "failed",
    text: `${what} ${formatDuration(achieved)}, ${by} more than the ${name} of ${formatDuration(objective)}.`,
  };
}

/** Ends the action with one annotation for each reason, unless the verdict is `passed`. */
export function assertPassed(outcome: {
  readonly verdict: Verdict;
  readonly reasons: readonly string[];
}): void {
  if (outcome.verdict === "passed") return;
  const reasons = outcome.reasons.length > 0 ? outcome.reasons : ["No reason was recorded."];
  const [first = "", ...rest] = reasons;
  const problems = [
    { message: `The verdict is ${outcome.verdict}: ${first}` },
    ...rest.map((message) => ({ message })),
  ];
  throw new UserError(problems[0]?.message ?? "", { problems });
}
