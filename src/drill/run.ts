import { randomBytes } from "node:crypto";
import { isBackupId, backupId as timedId } from "../catalog/layout.ts";
import type { Component, ComponentSetting } from "../component.ts";
import type { ComponentConfig } from "../components.ts";
import type { Context } from "../context.ts";
import { messageOf, ToolError, UserError } from "../errors.ts";
import { quote } from "../quote.ts";
import type { DrillRecord } from "../record.ts";
import { fillValue } from "../runbook/fill.ts";
import type { Runbook } from "../runbook/load.ts";
import type { ScenarioStep } from "../runbook/schema.ts";
import { passwordsIn } from "../secrets.ts";
import type { Target } from "../targets.ts";
import type { StepWorld } from "./check-step.ts";
import { achievedLoss, achievedRto } from "./measure.ts";
import { type DrillPlan, isDrilled, planDrill } from "./plan.ts";
import { saveRecord } from "./save.ts";
import {
  checkStep,
  type DrillState,
  describeStep,
  keepRecovered,
  newState,
  runStep,
  type StepResult,
  skipStep,
  takeResults,
  takeStep,
} from "./steps.ts";
import { judge, verdictOf } from "./verdict.ts";

/** What a drill needs of a {@link Service}. */
export interface DrillService {
  load(name: string): Promise<Pick<Component<ComponentConfig>, "backup" | "recover">>;
  setting(name: string): Promise<ComponentSetting<ComponentConfig>>;
}

export interface DrillOptions {
  readonly runbook: Runbook;
  readonly service: DrillService;
  /** A scenario or components; neither where there is only one thing to drill. */
  readonly scenario?: string | undefined;
  readonly components?: readonly string[] | undefined;
  readonly environment: string;
  readonly target: Target;
  /** The target as the user wrote it. */
  readonly targetText: string;
  /** `existing`: the newest that reaches the target. `fresh`: one that is taken now. Or the id of a backup. */
  readonly backup: string;
  /** Leaves what was recovered in place for somebody to look at. */
  readonly keep: boolean;
  readonly operator: string;
  readonly run: DrillRecord["run"];
  /** Facts about the machine, for the record. */
  readonly runnerFacts: Readonly<Record<string, string>>;
  /** Where the record is written; the folder is made. */
  readonly reportDir: string;
  /** Takes known secrets out of a text: the record outlives the job. */
  redact(text: string): string;
}

export interface DrillOutcome {
  readonly record: DrillRecord;
  /** The file that holds the record. */
  readonly recordPath: string;
}

/**
 * Drills a scenario: recovers into scratch places, runs commands and checks on one clock, and writes down what was proven.
 * A drill that could not run, or was stopped, still has a record, whose verdict says so. Throws a UserError for a request
 * that must be refused, before anything is touched, and a ToolError when the record can't be written.
 */
export async function runDrill(options: DrillOptions, context: Context): Promise<DrillOutcome> {
  const { config } = options.runbook;
  const plan = planDrill(config, options);
  checkBackup(options.backup, plan);
  const startedAt = context.now();
  const id = timedId(startedAt, randomBytes(3));
  context.log.info(`Drill ${id}: scenario ${plan.scenario}, target ${options.targetText}`);

  const state = newState(context.env);
  let clockStart = startedAt;
  try {
    const backups = await freshBackups(options, plan, state, context);
    clockStart = context.now();
    await takeSteps(options, plan, state, { backups, now: clockStart }, context);
  } finally {
    await cleanUp(options, state, context);
  }

  const steps = state.timed.map(({ step }) => step);
  // A fresh backup is preparation: the clock of the RTO starts with the scenario.
  const rtoSeconds = achievedRto(state.timed.slice(preparations(steps)));
  const loss = achievedLoss(state.recoveries, options.target, clockStart);
  const { objectives } = plan;
  const stopped = context.signal.aborted;
  const reasons = judge({ steps, checks: state.checks, objectives, rtoSeconds, loss, stopped });
  const draft: DrillRecord = {
    schema: "drillbook/drill-record/v1",
    id,
    service: config.service,
    environment: options.environment,
    scenario: plan.scenario,
    verdict: verdictOf(reasons),
    reasons: reasons.map((reason) => reason.text),
    startedAt: startedAt.toISOString(),
    finishedAt: context.now().toISOString(),
    objectives,
    achieved: { rtoSeconds, rpoSeconds: loss.rpoSeconds },
    operator: options.operator,
    run: options.run,
    steps,
    recoveries: state.recoveries,
    checks: state.checks,
    environmentFacts: { target: options.targetText, ...options.runnerFacts, ...state.facts },
  };
  const saved = await saveRecord(draft, {
    reportDir: options.reportDir,
    redact: options.redact,
    store: async () => (await options.service.setting(plan.recovers[0] ?? "")).store,
    context,
  });
  context.log.info(`Drill ${id}: ${saved.record.verdict}. The record is ${saved.recordPath}.`);
  for (const reason of saved.record.reasons) context.log.warning(reason);
  return saved;
}

function checkBackup(backup: string, plan: DrillPlan): void {
  if (backup === "existing" || backup === "fresh") return;
  if (!isBackupId(backup)) {
    throw new UserError(
      `The input backup is ${quote(backup)}: use existing, fresh, or the id of a backup such as 20260125T120000Z-1a2b3c.`,
    );
  }
  if (plan.recovers.length > 1) {
    throw new UserError(
      `A backup id names a backup of one component, but the scenario ${plan.scenario} recovers ${plan.recovers.join(", ")}: use existing or fresh.`,
    );
  }
}

const PREPARATION = "Take a fresh base backup of ";

function preparations(steps: readonly DrillRecord["steps"][number][]): number {
  return steps.filter((step) => step.title.startsWith(PREPARATION)).length;
}

/** The backup to use for each component; undefined: the component chooses. */
type Backups = ReadonlyMap<string, string>;

async function freshBackups(
  options: DrillOptions,
  plan: DrillPlan,
  state: DrillState,
  context: Context,
): Promise<Backups | undefined> {
  if (options.backup === "existing") return new Map();
  if (options.backup !== "fresh") return new Map(plan.recovers.map((name) => [name, options.backup]));
  const ids = new Map<string, string>();
  for (const name of plan.recovers) {
    const about = { kind: "run", title: PREPARATION + name, component: name } as const;
    const result = await takeStep(about, state, context, async () => {
      const component = await options.service.load(name);
      const { manifest } = await component.backup(await options.service.setting(name), "full", context);
      if (manifest === undefined) throw new ToolError(`The backup of ${name} ended without a manifest.`);
      ids.set(name, manifest.id);
      return { status: "passed" };
    });
    if (result.ends === true) return undefined;
  }
  return ids;
}

interface Start {
  /** Undefined when a fresh backup failed, so that there is nothing to drill. */
  readonly backups: Backups | undefined;
  readonly now: Date;
}

async function takeSteps(
  options: DrillOptions,
  plan: DrillPlan,
  state: DrillState,
  start: Start,
  context: Context,
): Promise<void> {
  let over = start.backups === undefined;
  for (const [index, step] of plan.steps.entries()) {
    const about = describeStep(step);
    if (!isDrilled(step)) {
      skipStep(about, "Only taken when the service is really restored.", state, context);
      continue;
    }
    if (over || context.signal.aborted) {
      skipStep(about, "Not taken, because an earlier step ended the drill.", state, context);
      continue;
    }
    const world = worldOf(options, plan, index, state, context);
    const result = await takeStep(about, state, context, () =>
      takeOne(step, options, state, start, world, context),
    );
    over = result.ends === true;
    if ("recover" in step && !over) {
      over = await checkRecovered(step.recover, options, state, context);
      if (!over) over = await inspectRecovered(step.recover, state, context);
    }
  }
}

function takeOne(
  step: ScenarioStep,
  options: DrillOptions,
  state: DrillState,
  start: Start,
  world: StepWorld,
  context: Context,
): Promise<StepResult> {
  if ("run" in step) return runStep(step.run, world);
  if ("check" in step) return checkStep(step, state, world);
  return recoverOne(step.recover, options, state, start, context);
}

async function recoverOne(
  name: string,
  options: DrillOptions,
  state: DrillState,
  start: Start,
  context: Context,
): Promise<StepResult> {
  const component = await options.service.load(name);
  const request = { target: options.target, backupId: start.backups?.get(name), now: start.now };
  const recovered = await component.recover(await options.service.setting(name), request, context);
  keepRecovered(name, recovered, state);
  return { status: "passed", phases: recovered.phases.map((phase) => ({ ...phase })) };
}

/** Whether the drill is over after it. */
async function checkRecovered(
  name: string,
  options: DrillOptions,
  state: DrillState,
  context: Context,
): Promise<boolean> {
  const recovered = state.recovered.findLast((one) => one.component === name)?.recovered;
  const checks = options.runbook.config.components[name]?.checks ?? [];
  if (recovered === undefined || checks.length === 0) return false;
  const about = { kind: "check", title: `Check ${name}`, component: name } as const;
  const result = await takeStep(about, state, context, () =>
    takeResults(name, `all checks of ${name}`, () => recovered.check(), state, context.signal),
  );
  return result.ends === true;
}

/** Before the next step may change what was recovered. Whether the drill is over after it. */
async function inspectRecovered(name: string, state: DrillState, context: Context): Promise<boolean> {
  const inspect = state.recovered.findLast((one) => one.component === name)?.recovered.inspect;
  if (inspect === undefined) return false;
  const about = { kind: "check", title: `Look through ${name}`, component: name, aside: true } as const;
  const work = () => takeResults(name, `integrity of ${name}`, inspect, state, context.signal);
  return (await takeStep(about, state, context, work)).ends === true;
}

function worldOf(
  options: DrillOptions,
  plan: DrillPlan,
  index: number,
  state: DrillState,
  context: Context,
): StepWorld {
  const path = ["scenarios", plan.scenario, "steps", index, "check", "url"];
  return {
    env: state.env,
    signal: context.signal,
    onLine: (line) => context.log.info(line),
    fill: (value) => {
      const filled = fillValue(options.runbook, path, value, state.env);
      for (const password of passwordsIn(filled)) context.mask(password);
      return filled;
    },
    onLeftRunning: ({ leftRunning }) => {
      if (leftRunning !== undefined) state.leftRunning.push(leftRunning);
    },
  };
}

/** Ends all that the drill started, the newest first. What can't be ended is a warning and a fact, never a verdict. */
async function cleanUp(options: DrillOptions, state: DrillState, context: Context): Promise<void> {
  // Together, because a job that is stopped has only seconds left.
  const stopped = Promise.all(state.leftRunning.map((group) => group.stop()));
  for (const { component, recovered } of state.recovered.toReversed()) {
    try {
      await recovered.dispose({ keep: options.keep });
      if (options.keep) state.facts[`kept of ${component}`] = "what was recovered was left in place";
    } catch (error) {
      const sentence = `What was recovered of ${component} could not be removed: ${messageOf(error)}`;
      context.log.warning(sentence);
      state.facts[`left over of ${component}`] = sentence;
    }
  }
  await stopped;
}
