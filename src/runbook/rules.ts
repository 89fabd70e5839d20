import { orList, quote } from "../quote.ts";
import { LITERAL_PASSWORD } from "../schema-parts.ts";
import { hasLiteralPassword, isFromEnvironment } from "../secrets.ts";
import { hasVariable, readTemplate } from "../template.ts";
import { childOf } from "./json-schema.ts";
import { type Path, problemAt, type RunbookProblem } from "./problem.ts";
import { NO_PROOF, proofOf, recoveredBy } from "./scenario.ts";
import type { RunbookConfig } from "./schema.ts";
import type { Source } from "./source.ts";

type Complain = (path: Path, clause: string) => void;

/**
 * What a shape can't say: names that must exist, secrets in stores. It looks at the file as it was read, so that these
 * problems show together with those of the shape.
 */
export function referenceProblems(source: Source): RunbookProblem[] {
  const problems: RunbookProblem[] = [];
  const complain: Complain = (path, clause) => problems.push(problemAt(path, clause, source.locate(path)));
  const runbook = source.value;
  checkComponents(runbook, complain);
  checkScenarios(runbook, complain);
  checkStoreTexts(["stores"], childOf(runbook, "stores"), complain);
  return problems;
}

/** Objects of these names lie beside the components' in a store. */
const TAKEN_NAMES = ["drills"];

function checkComponents(runbook: unknown, complain: Complain): void {
  const stores = namesIn(runbook, "stores");
  const slots = new Map<string, string>();
  for (const name of namesIn(runbook, "components")) {
    const component = childOf(childOf(runbook, "components"), name);
    if (TAKEN_NAMES.includes(name)) {
      complain(["components", name], "has a name that Drillbook uses in the store: choose another");
    }
    const store = childOf(component, "store");
    if (typeof store === "string" && !stores.includes(store)) {
      complain(["components", name, "store"], `is ${unknownName(store, "store", stores)}`);
    }
    const wal = childOf(component, "wal");
    // A folder may be read by many.
    if (childOf(wal, "archive") !== undefined) continue;
    const slot = `${childOf(component, "connection")} ${childOf(wal, "slot") ?? "drillbook"}`;
    const other = slots.get(slot);
    if (other !== undefined && typeof childOf(component, "connection") === "string") {
      complain(
        ["components", name, "connection"],
        `is that of ${other} too, with the same replication slot: give one of them another wal.slot`,
      );
    }
    slots.set(slot, name);
  }
}

function checkScenarios(runbook: unknown, complain: Complain): void {
  const components = namesIn(runbook, "components");
  for (const name of namesIn(runbook, "scenarios")) {
    const steps = childOf(childOf(childOf(runbook, "scenarios"), name), "steps");
    if (!Array.isArray(steps)) continue;
    const recovered = new Set<string>();
    for (const [index, step] of steps.entries()) {
      const component = childOf(step, "recover");
      if (typeof component !== "string") continue;
      const path = ["scenarios", name, "steps", index, "recover"];
      if (!components.includes(component))
        complain(path, `is ${unknownName(component, "component", components)}`);
      if (recovered.has(component))
        complain(path, `recovers ${quote(component)} a second time: remove the step`);
      recovered.add(component);
    }
    if (components.includes(name) && !recovered.has(name)) {
      complain(
        ["scenarios", name],
        "has the name of a component that it doesn't recover: choose another name for the scenario",
      );
    }
  }
}

function unknownName(name: string, what: string, known: readonly string[]): string {
  const choice = known.length === 0 ? `no ${what} is defined` : `choose ${orList(known)}`;
  return `${quote(name)}, but there is no ${what} of that name: ${choice}`;
}

function namesIn(runbook: unknown, key: string): string[] {
  const map = childOf(runbook, key);
  return typeof map === "object" && map !== null && !Array.isArray(map) ? Object.keys(map) : [];
}

/** Every text of a store may hold variables. */
function checkStoreTexts(path: Path, value: unknown, complain: Complain): void {
  if (typeof value === "object" && value !== null) {
    for (const [key, child] of Object.entries(value)) {
      checkStoreTexts([...path, Array.isArray(value) ? Number(key) : key], child, complain);
    }
  }
  if (typeof value !== "string") return;
  const { problem } = readTemplate(value);
  if (problem !== undefined) complain(path, problem);
  if (hasLiteralPassword(value)) complain(path, LITERAL_PASSWORD);
  if (path.at(-2) === "recipients" && !hasVariable(value) && !/^age1[a-z0-9]{50,}$/i.test(value)) {
    complain(path, `must be an age recipient, a public key that starts with age1, not ${quote(value)}`);
  }
  if (path.at(-1) === "identity" && !isFromEnvironment(value)) {
    complain(
      path,
      `holds a private key in clear text: keep it in a secret and write \${AGE_IDENTITY} in its place`,
    );
  }
}

/** A private key anywhere in the file, be it in a comment. */
export function privateKeyProblems(text: string, file: string): RunbookProblem[] {
  return [...text.matchAll(/AGE-(?:SECRET-KEY|PLUGIN-[A-Z0-9-]+)-1[0-9a-z]{8,}/gi)].map((match) => {
    const before = text.slice(0, match.index).split("\n");
    const location = { file, line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
    const clause =
      "holds a private key in clear text: replace the key, because whoever reads the file has it";
    return problemAt([], clause, location);
  });
}

/** A scenario that somebody wrote must be able to prove something. An implicit one is judged when it is drilled. */
export function proofProblems(config: RunbookConfig, source: Source): RunbookProblem[] {
  return Object.entries(config.scenarios).flatMap(([name, scenario]) => {
    const path = ["scenarios", name];
    const recovers = recoveredBy(scenario, "drill").length > 0;
    if (recovers && proofOf(config, scenario).length > 0) return [];
    const clause = recovers ? NO_PROOF : "recovers nothing in a drill: add a step such as recover: db";
    return [problemAt(path, clause, source.locate(path))];
  });
}
