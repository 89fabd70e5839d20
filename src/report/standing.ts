import type { Finding } from "../finding.ts";
import type { DrillRecord, Verdict } from "../record.ts";
import { allScenarios, findScenario, recoveredBy } from "../runbook/scenario.ts";
import type { RunbookConfig } from "../runbook/schema.ts";
import { formatDuration } from "../values.ts";

/** How it stands with one scenario. */
export interface Standing {
  readonly scenario: string;
  /** That of the newest drill, made worse by a finding that is an error. */
  readonly verdict: Verdict;
  /** Its drills, the newest first; empty when it was never drilled. */
  readonly drills: readonly DrillRecord[];
  /** How often it must be drilled, in seconds. */
  readonly every: number | undefined;
  readonly finding: Finding | undefined;
  /** Whether the runbook still has it; what it no longer has is shown, but counts for nothing. */
  readonly current: boolean;
}

/**
 * How it stands with each scenario that must be drilled regularly or was drilled. With `gate`, a scenario without a passed
 * drill within its `every` is `failed`.
 */
export function standings(
  config: RunbookConfig,
  records: readonly DrillRecord[],
  gate: boolean,
  now: Date,
): Standing[] {
  const regular = allScenarios(config).filter(({ scenario }) => scenario.every !== undefined);
  const names = new Set([...regular.map(({ name }) => name), ...records.map((record) => record.scenario)]);
  return [...names].map((scenario) => standing(config, scenario, records, gate, now));
}

function standing(
  config: RunbookConfig,
  scenario: string,
  records: readonly DrillRecord[],
  gate: boolean,
  now: Date,
): Standing {
  const drills = records.filter((record) => record.scenario === scenario);
  const current = scenario.split("+").every((name) => isKnown(config, name));
  const every = config.scenarios[scenario]?.every;
  const finding = overdue(config, scenario, drills, gate, now);
  const newest = drills[0]?.verdict ?? "unverified";
  const verdict = finding?.severity === "error" ? "failed" : newest;
  return { scenario, verdict, drills, every, finding, current };
}

function isKnown(config: RunbookConfig, name: string): boolean {
  return Object.hasOwn(config.scenarios, name) || Object.hasOwn(config.components, name);
}

function overdue(
  config: RunbookConfig,
  scenario: string,
  drills: readonly DrillRecord[],
  gate: boolean,
  now: Date,
): Finding | undefined {
  const every = config.scenarios[scenario]?.every;
  if (every === undefined) return undefined;
  const passed = drills.find((drill) => drill.verdict === "passed");
  const age = passed === undefined ? undefined : (now.getTime() - Date.parse(passed.finishedAt)) / 1000;
  if (age !== undefined && age <= every) return undefined;
  const since =
    age === undefined ? "has no passed drill at all" : `had its last passed drill ${formatDuration(age)} ago`;
  return {
    code: "drill-overdue",
    severity: gate ? "error" : "warning",
    component: recoveredBy(findScenario(config, scenario).scenario, "drill").join(", "),
    subject: scenario,
    message: `The scenario ${scenario} ${since}; the runbook asks for one every ${formatDuration(every)}.`,
    remedy: `Run the pitr-drill action with scenario: ${scenario}, and mend what it finds until it is passed.`,
  };
}
