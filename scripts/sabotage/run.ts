import { recoveredBy } from "../../src/runbook/scenario.ts";
import { type Breakage, type Expected, LOOKS, type Look } from "./breakage.ts";
import { type Facts, readFacts } from "./facts.ts";
import { type Caught, lookAt, type Subject } from "./looks.ts";
import { overlayOf } from "./overlay.ts";

/** What became of one breakage, or of one healthy variant. */
export interface Result {
  readonly name: string;
  readonly sentence: string;
  /** `caught` and `green` are what must be; `missed`: nobody saw it; `misnamed`: seen, but as something else. */
  readonly outcome: "caught" | "missed" | "misnamed" | "green" | "false alarm";
  /** Who saw it. */
  readonly by: string;
  readonly code: string;
  /** What was said, or what was expected instead. */
  readonly message: string;
  readonly seconds: number;
}

/** How one look at a broken store ends; `lookAt` unless a test has its own. */
export type Looker = typeof lookAt;

/** Breaks a component once for each breakage that applies, each time anew, and looks whether somebody notices. */
export async function sabotage(
  subject: Subject,
  breakages: readonly Breakage[],
  onResult: (result: Result) => void,
  looker: Looker = lookAt,
): Promise<Result[]> {
  const facts = await factsOf(subject);
  const results: Result[] = [];
  for (const breakage of breakages.filter(({ applies }) => applies?.(facts) !== false)) {
    subject.context.signal.throwIfAborted();
    const result = await attempt(subject, facts, breakage, looker);
    onResult(result);
    results.push(result);
  }
  return results;
}

async function factsOf({ setting, runbook, context }: Subject): Promise<Facts> {
  const { components, scenarios } = runbook.config;
  const others = Object.entries(components)
    .filter(([name, { store }]) => name !== setting.name && store === setting.config.store)
    .map(([name]) => name);
  const every = Object.values(scenarios)
    .filter((scenario) => recoveredBy(scenario, "drill").includes(setting.name))
    .flatMap((scenario) => scenario.every ?? []);
  const drilledEverySeconds = every.length === 0 ? undefined : Math.min(...every);
  return await readFacts(setting, { others, drilledEverySeconds }, context.signal);
}

async function attempt(subject: Subject, facts: Facts, breakage: Breakage, looker: Looker): Promise<Result> {
  const began = performance.now();
  const { name, sentence, expected } = breakage;
  const store = overlayOf(subject.setting.store);
  await breakage.breaks?.(store, facts);
  const around = await breakage.around?.(facts);
  const named = { name, sentence };
  const seconds = () => (performance.now() - began) / 1000;
  for (const look of LOOKS.slice(0, LOOKS.indexOf(expected.by) + 1)) {
    // Each look finds what an earlier one may have written, as in real life; the breakage stays.
    const caught = await looker(look, subject, store, around);
    const right = caught.find((one) => matches(one, expected));
    const [first] = caught;
    if (right !== undefined) {
      const { code, message } = right;
      return { ...named, outcome: "caught", by: label(look), code, message, seconds: seconds() };
    }
    if (first !== undefined && look === expected.by) {
      const message = `${first.message} Expected: ${expected.codes.join(" or ")}.`;
      return {
        ...named,
        outcome: "misnamed",
        by: label(look),
        code: first.code,
        message,
        seconds: seconds(),
      };
    }
  }
  const message = `Nobody saw it. Expected: ${expected.codes.join(" or ")} by ${label(expected.by)}.`;
  return { ...named, outcome: "missed", by: "nobody", code: "", message, seconds: seconds() };
}

function matches({ code, severity }: Caught, { codes, warning }: Expected): boolean {
  return codes.includes(code) && (severity === "error" || warning === true);
}

/** Looks at an untouched component in every way: each finding is a false alarm. */
export async function standsUp(
  subject: Subject,
  variant: { readonly name: string; readonly sentence: string },
  looker: Looker = lookAt,
): Promise<Result> {
  const began = performance.now();
  const seconds = () => (performance.now() - began) / 1000;
  const store = overlayOf(subject.setting.store);
  for (const look of LOOKS) {
    const [first] = await looker(look, subject, store);
    if (first !== undefined) {
      const { code, message } = first;
      return { ...variant, outcome: "false alarm", by: label(look), code, message, seconds: seconds() };
    }
  }
  return { ...variant, outcome: "green", by: "", code: "", message: "", seconds: seconds() };
}

export function isGood({ outcome }: Result): boolean {
  return outcome === "caught" || outcome === "green";
}

function label(look: Look): string {
  return look === "drill" ? "drill" : `verify ${look}`;
}
