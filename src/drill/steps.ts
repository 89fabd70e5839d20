import type { Recovered } from "../component.ts";
import type { Context } from "../context.ts";
import { AbortedError } from "../errors.ts";
import { quote } from "../quote.ts";
import type { CheckResult, Recovery, Step } from "../record.ts";
import type { ScenarioStep } from "../runbook/schema.ts";
import { nameOfCheck, runCheck, type StepWorld } from "./check-step.ts";
import { type CommandResult, type ProcessGroup, runCommand } from "./command.ts";
import type { TimedStep } from "./measure.ts";
import { sentenceOf, statusOfError } from "./verdict.ts";

/** What a step did, without its times. */
export interface StepResult {
  readonly status: Step["status"];
  readonly message?: string | undefined;
  readonly phases?: Step["phases"];
  /** No further step is taken. */
  readonly ends?: boolean;
}

/** What steps have brought about so far; it grows as they run. */
export interface DrillState {
  readonly timed: TimedStep[];
  readonly recoveries: Recovery[];
  readonly checks: CheckResult[];
  /** Runs until it is disposed of. */
  readonly recovered: { readonly component: string; readonly recovered: Recovered }[];
  readonly leftRunning: ProcessGroup[];
  readonly facts: Record<string, string>;
  readonly env: Record<string, string | undefined>;
}

export interface StepKind {
  readonly kind: Step["kind"];
  readonly title: string;
  readonly component?: string;
  /** Its time is no part of the recovery. */
  readonly aside?: boolean;
}

export function newState(env: Context["env"]): DrillState {
  return {
    timed: [],
    recoveries: [],
    checks: [],
    recovered: [],
    leftRunning: [],
    facts: {},
    env: { ...env },
  };
}

/** What a step of the runbook is called in logs and records. */
export function describeStep(step: ScenarioStep): StepKind {
  if ("recover" in step)
    return { kind: "recover", title: `Recover ${step.recover}`, component: step.recover };
  if ("run" in step) return { kind: "run", title: `Run ${firstLine(step.run)}` };
  return { kind: "check", title: `Check ${firstLine(nameOfCheck(step.check))}` };
}

function firstLine(text: string): string {
  const [first = "", ...rest] = text.trim().split("\n");
  return rest.length === 0 && first.length <= 120 ? first : `${first.slice(0, 120)}…`;
}

/** Runs one step on the clock and puts it into the state. Never throws: what goes wrong is the step's result. */
export async function takeStep(
  about: StepKind,
  state: DrillState,
  context: Context,
  work: () => Promise<StepResult>,
): Promise<StepResult> {
  const startedAt = context.now().toISOString();
  const startMs = performance.now();
  context.log.info(`${about.title} …`);
  let result: StepResult;
  try {
    result = await work();
  } catch (error) {
    const stopped = error instanceof AbortedError || context.signal.aborted;
    const status = stopped ? "unverified" : statusOfError(error);
    const message = sentenceOf(stopped ? new AbortedError() : error);
    // A check that could not run leaves the others worth running; nothing else does.
    result = { status, message, ends: stopped || about.kind !== "check" };
  }
  const endMs = performance.now();
  addStep(about, result, state, { startedAt, startMs, endMs });
  const line = `${about.title}: ${result.status} after ${((endMs - startMs) / 1000).toFixed(1)} s`;
  if (result.status === "passed") context.log.info(line);
  else context.log.warning(result.message === undefined ? line : `${line}: ${result.message}`);
  return result;
}

/** Puts a step that was not taken into the state. */
export function skipStep(about: StepKind, why: string, state: DrillState, context: Context): void {
  const now = performance.now();
  const times = { startedAt: context.now().toISOString(), startMs: now, endMs: now };
  addStep(about, { status: "skipped", message: why }, state, times);
}

interface Times {
  readonly startedAt: string;
  readonly startMs: number;
  readonly endMs: number;
}

function addStep(about: StepKind, result: StepResult, state: DrillState, times: Times): void {
  const number = String(state.timed.length + 1).padStart(2, "0");
  const step: Step = {
    id: [number, about.kind, about.component].filter((part) => part !== undefined).join("-"),
    title: about.title,
    kind: about.kind,
    ...(about.component === undefined ? {} : { component: about.component }),
    status: result.status,
    startedAt: times.startedAt,
    seconds: (times.endMs - times.startMs) / 1000,
    phases: [...(result.phases ?? [])],
    ...(result.message === undefined ? {} : { message: result.message }),
  };
  state.timed.push({ step, startMs: times.startMs, endMs: times.endMs, aside: about.aside ?? false });
}

/** A `run` step: any end but exit code 0 ends the drill. */
export async function runStep(command: string, world: StepWorld): Promise<StepResult> {
  const result = await runCommand(command, world);
  world.onLeftRunning(result);
  if (result.outcome === "succeeded") return { status: "passed" };
  const status = result.outcome === "not-runnable" ? "unverified" : "failed";
  return { status, message: describeEnd(result), ends: true };
}

function describeEnd(result: CommandResult): string {
  const tail = result.tail.join("\n");
  return tail === ""
    ? `The command ${result.summary}, without any output.`
    : `The command ${result.summary}; its last lines: ${tail}`;
}

/** A `check` step of the scenario. */
export async function checkStep(
  step: Extract<ScenarioStep, { check: unknown }>,
  state: DrillState,
  world: StepWorld,
): Promise<StepResult> {
  const result = await guarded(nameOfCheck(step.check), "", world.signal, async () => [
    await runCheck(step.check, world),
  ]);
  for (const one of result) state.checks.push(one);
  return summarize(result);
}

/** Results that a component gives of what was recovered. `check` names all of them, for when it can't give any. */
export async function takeResults(
  component: string,
  check: string,
  work: () => Promise<CheckResult[]>,
  state: DrillState,
  signal: AbortSignal,
): Promise<StepResult> {
  const results = await guarded(check, component, signal, work);
  for (const one of results) state.checks.push(one);
  return summarize(results);
}

/** Turns checks that could not run into a result that says so. */
async function guarded(
  check: string,
  component: string,
  signal: AbortSignal,
  work: () => Promise<CheckResult[]>,
): Promise<CheckResult[]> {
  try {
    return await work();
  } catch (error) {
    if (signal.aborted || error instanceof AbortedError) throw error;
    const actual = sentenceOf(error);
    return [{ component, check, status: statusOfError(error), expected: "to be answered", actual }];
  }
}

function summarize(results: readonly CheckResult[]): StepResult {
  if (results.some((result) => result.status === "failed")) return { status: "failed" };
  return { status: results.every((result) => result.status === "passed") ? "passed" : "unverified" };
}

/** Remembers what was recovered: for the record, for what comes next, and to be disposed of at the end. */
export function keepRecovered(component: string, recovered: Recovered, state: DrillState): void {
  state.recovered.push({ component, recovered });
  const { backupId, target, reached } = recovered;
  state.recoveries.push({ component, backupId, target, reached });
  const prefix = `DRILLBOOK_${component.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_")}_`;
  for (const [key, value] of Object.entries(recovered.access)) {
    state.env[prefix + key.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_")] = value;
  }
  for (const [name, value] of Object.entries(recovered.facts)) {
    const known = state.facts[name];
    state.facts[known === undefined || known === value ? name : `${name} of ${quote(component)}`] = value;
  }
}
