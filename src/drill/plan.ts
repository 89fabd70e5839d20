import { UserError } from "../errors.ts";
import { orList, quote } from "../quote.ts";
import {
  allScenarios,
  findScenario,
  implicitScenario,
  isTaken,
  NO_PROOF,
  proofOf,
  recoveredBy,
} from "../runbook/scenario.ts";
import type { RunbookConfig, Scenario, ScenarioStep } from "../runbook/schema.ts";
import { type Objectives, strictest } from "./measure.ts";

/** What is asked of a drill; a scenario or components, or neither where there is only one choice. */
export interface PlanRequest {
  readonly scenario?: string | undefined;
  readonly components?: readonly string[] | undefined;
  readonly environment: string;
}

export interface DrillPlan {
  readonly scenario: string;
  readonly steps: readonly ScenarioStep[];
  /** The components that the drill recovers, in order, each once. */
  readonly recovers: readonly string[];
  /** The environment's objectives, tightened by those of the recovered components. */
  readonly objectives: Objectives;
}

/**
 * Chooses the steps and refuses what must not or cannot be drilled, before anything is touched. Throws a UserError: an
 * unknown scenario, component or environment (with the known ones), a protected environment, a drill that recovers
 * nothing or in which nothing proves data.
 */
export function planDrill(runbook: RunbookConfig, request: PlanRequest): DrillPlan {
  const environment = checkEnvironment(runbook, request.environment);
  const { name, scenario } = choose(runbook, request);
  const recovers = [...new Set(recoveredBy(scenario, "drill"))];
  if (recovers.length === 0) {
    throw new UserError(`The scenario ${name} recovers nothing in a drill: add a step such as recover: db.`);
  }
  if (proofOf(runbook, scenario).length === 0) throw new UserError(`The scenario ${name} ${NO_PROOF}.`);
  const configs = recovers.map((component) => runbook.components[component]);
  const all = [environment, ...configs.map((config) => config?.objectives ?? {})];
  const objectives = strictest(
    all.map(({ rto, rpo }: { rto?: number | undefined; rpo?: number | undefined }) => ({
      rtoSeconds: rto ?? null,
      rpoSeconds: rpo ?? null,
    })),
  );
  return { scenario: name, steps: scenario.steps, recovers, objectives };
}

/** Whether a drill takes the step; the others are for a real recovery. */
export function isDrilled(step: ScenarioStep): boolean {
  return isTaken(step, "drill");
}

function checkEnvironment(
  runbook: RunbookConfig,
  name: string,
): RunbookConfig["objectives"][string] | Record<string, never> {
  const known = Object.keys(runbook.objectives);
  if (known.length === 0) return {};
  const found = Object.hasOwn(runbook.objectives, name) ? runbook.objectives[name] : undefined;
  if (found === undefined) {
    throw new UserError(
      `The environment ${name} is not in the runbook's objectives: use ${orList(known)}, or add it there.`,
    );
  }
  if (found.protected) {
    const others = known.filter((other) => runbook.objectives[other]?.protected !== true);
    const instead = others.length > 0 ? orList(others) : "another one, which the runbook has yet to declare";
    throw new UserError(`The environment ${name} is protected, so no drill touches it: use ${instead}.`);
  }
  return found;
}

interface Choice {
  readonly name: string;
  readonly scenario: Scenario;
}

function choose(runbook: RunbookConfig, request: PlanRequest): Choice {
  const components = [...new Set(request.components ?? [])];
  if (request.scenario && components.length > 0) {
    throw new UserError("A drill takes either a scenario or components: leave one of the two inputs empty.");
  }
  if (request.scenario) return findScenario(runbook, request.scenario);
  if (components.length > 0) return recoverEach(runbook, components);
  const [only, ...others] = allScenarios(runbook);
  if (only !== undefined && others.length === 0) return only;
  const names = allScenarios(runbook).map((one) => one.name);
  throw new UserError(
    `There is more than one scenario to drill: name one of ${orList(names)} in the input "scenario".`,
  );
}

/** The scenario of components that were named one by one: recover each, run its checks. */
function recoverEach(runbook: RunbookConfig, components: readonly string[]): Choice {
  const known = Object.keys(runbook.components);
  for (const name of components) {
    if (!known.includes(name)) {
      throw new UserError(`The runbook has no component ${quote(name)}: choose ${orList(known)}.`);
    }
    // Each stands for itself here: the proof of one says nothing of another.
    if (proofOf(runbook, implicitScenario(name).scenario).length === 0) {
      throw new UserError(`The component ${name} ${NO_PROOF}.`);
    }
  }
  const steps = components.map((recover) => ({ recover, when: "always" as const }));
  return { name: components.join("+"), scenario: { steps } };
}
