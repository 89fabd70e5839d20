import { UserError } from "../errors.ts";
import { orList, quote } from "../quote.ts";
import type { RunbookConfig, Scenario, ScenarioStep } from "./schema.ts";

/** A scenario to run: one of the runbook, or that which every component has of its own. */
export interface NamedScenario {
  readonly name: string;
  readonly scenario: Scenario;
  /** Recovers one component and runs its checks, because the runbook says nothing else. */
  readonly implicit: boolean;
}

/** The scenario that a component has without anybody writing one. */
export function implicitScenario(component: string): NamedScenario {
  const scenario = {
    title: `Recover ${component}`,
    steps: [{ recover: component, when: "always" as const }],
  };
  return { name: component, scenario, implicit: true };
}

/** A scenario of the runbook or, by a component's name, its implicit one. Throws a UserError that lists the names. */
export function findScenario(config: RunbookConfig, name: string): NamedScenario {
  const scenario = Object.hasOwn(config.scenarios, name) ? config.scenarios[name] : undefined;
  if (scenario !== undefined) return { name, scenario, implicit: false };
  if (Object.hasOwn(config.components, name)) return implicitScenario(name);
  const names = [...new Set([...Object.keys(config.scenarios), ...Object.keys(config.components)])];
  throw new UserError(`The runbook has no scenario ${quote(name)}: choose ${orList(names)}.`);
}

/** Every scenario there is to drill: those of the runbook, and the implicit ones of components that none recovers. */
export function allScenarios(config: RunbookConfig): NamedScenario[] {
  const explicit = Object.entries(config.scenarios).map(([name, scenario]) => ({
    name,
    scenario,
    implicit: false,
  }));
  const recovered = new Set(explicit.flatMap(({ scenario }) => recoveredBy(scenario, "drill")));
  const rest = Object.keys(config.components).filter((name) => !recovered.has(name));
  return [...explicit, ...rest.map(implicitScenario)];
}

/** Whether a step belongs to this kind of run. */
export function isTaken(step: ScenarioStep, run: "drill" | "restore"): boolean {
  return step.when === "always" || step.when === run;
}

/** The components that a scenario recovers in this kind of run, in order. */
export function recoveredBy(scenario: Scenario, run: "drill" | "restore"): string[] {
  return scenario.steps.flatMap((step) => ("recover" in step && isTaken(step, run) ? [step.recover] : []));
}

/**
 * What would prove the data in a drill of the scenario: checks of a recovered component, and checks after a recovery
 * by a command or by values in a URL's answer. That a URL answers at all proves a process, not its data. Empty:
 * nothing does, and a drill of it must not pass.
 */
export function proofOf(config: RunbookConfig, scenario: Scenario): string[] {
  const proofs: string[] = [];
  let recovered = false;
  for (const step of scenario.steps) {
    if (!isTaken(step, "drill")) continue;
    if ("recover" in step) {
      recovered = true;
      const checks = config.components[step.recover]?.checks ?? [];
      if (checks.length > 0) proofs.push(`the checks of ${step.recover}`);
    }
    if (!("check" in step) || !recovered) continue;
    if ("run" in step.check) proofs.push(`the command ${step.check.run}`);
    else if (step.check.json !== undefined) proofs.push(`the answer of ${step.check.url}`);
  }
  return proofs;
}

/** What to say of a scenario without proof: the end of a sentence that starts with its name. */
export const NO_PROOF =
  "has nothing that proves the data in a drill: add checks to a component that it recovers, or after its recovery a check with run, or with url and json";
