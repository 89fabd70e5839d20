/**
 * Breaks healthy backups in every way we can think of and demands that somebody notices: `verify` or a drill, with the
 * right code. `npm run sabotage` makes stores of its own; with `-- --runbook <file> [--component <name>]` it breaks an
 * overlay of that component's store, to which nothing is written. `--only <text>` tries what has the text in its name.
 * Exits with 0 only if everything is caught and no healthy store is blamed.
 */
import { parseArgs } from "node:util";
import { AbortedError, messageOf } from "../src/errors.ts";
import { BREAKAGES } from "./sabotage/breakages/all.ts";
import { type ScriptContext, scriptContext } from "./sabotage/context.ts";
import { isGood, type Result, sabotage, standsUp } from "./sabotage/run.ts";
import { openSubject } from "./sabotage/subject.ts";
import { type Chooser, wholeSuite } from "./sabotage/suite.ts";
import { header, lineOf, scoreOf } from "./sabotage/table.ts";

const startedAt = performance.now();
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => stop.abort(new AbortedError(`Stopped by ${signal}.`)));
}

const { values } = parseArgs({
  options: {
    runbook: { type: "string" },
    component: { type: "string" },
    only: { type: "string", default: "" },
  },
});

function show(result: Result): void {
  console.log(lineOf(result));
}

async function main(context: ScriptContext): Promise<boolean> {
  const wanted: Chooser = (name) => name.includes(values.only);
  if (values.runbook !== undefined) return await breakTheirs(values.runbook, wanted, context);
  console.log(header());
  const score = scoreOf(await wholeSuite(context, wanted, show));
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  console.log(
    `\n${score.caught} of ${score.broken} breakages were caught, ${score.green} of ${score.healthy} healthy stores stayed green, in ${seconds} s.`,
  );
  return score.ok;
}

async function breakTheirs(runbook: string, wanted: Chooser, context: ScriptContext): Promise<boolean> {
  await using opened = await openSubject(runbook, values.component, context);
  const { subject } = opened;
  const name = subject.setting.name;
  console.log(
    `An overlay of ${subject.setting.store.describe(name)} is broken: nothing is written to the store.\n`,
  );
  console.log(header());
  const healthy = await standsUp(subject, { name, sentence: "Nothing" });
  show(healthy);
  if (!isGood(healthy)) {
    console.log(`\n${name} is not healthy as it is, so breaking it would prove nothing: mend that first.`);
    return false;
  }
  const results = await sabotage(
    subject,
    BREAKAGES.filter((one) => wanted(one.name)),
    show,
  );
  const score = scoreOf([healthy, ...results]);
  const left = BREAKAGES.length - results.length;
  console.log(`\nYour checks caught ${score.caught} of ${score.broken}.`);
  if (left > 0)
    console.log(
      `${left} breakages were left out, because the store has nothing of the kind or they were not asked for.`,
    );
  return score.ok;
}

await using context = await scriptContext(process.env, stop.signal);
try {
  if (!(await main(context))) process.exitCode = 1;
} catch (error) {
  process.exitCode = 1;
  console.error(
    `\nThe sabotage could not be done: ${messageOf(stop.signal.aborted ? stop.signal.reason : error)}`,
  );
  if (!stop.signal.aborted) for (const line of context.lines) console.error(`  ${line}`);
}
