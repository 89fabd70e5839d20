import type { Context } from "../../src/context.ts";
import { startPostgres } from "../lib/postgres.ts";
import type { Breakage } from "./breakage.ts";
import { BREAKAGES } from "./breakages/all.ts";
import { HEALTHY, type Variant } from "./healthy.ts";
import { makeHealthyStore, SMALL_SEGMENTS } from "./healthy-store.ts";
import { type Result, sabotage, standsUp } from "./run.ts";
import { fill, type Place } from "./source.ts";
import { brokenSource, SOURCE } from "./source-breakages.ts";
import { openSubject } from "./subject.ts";

/** Which breakages and variants are tried, by their names. */
export type Chooser = (name: string) => boolean;

type OnResult = (result: Result) => void;

/** Breaks stores of our own, and looks at healthy ones, two at a time. */
export async function wholeSuite(context: Context, wanted: Chooser, onResult: OnResult): Promise<Result[]> {
  const lanes = [breakMain, breakSources, tryVariants];
  const results = (await Promise.all(lanes.map((lane) => lane(context, wanted, onResult)))).flat();
  return [...results, ...untried(results, wanted, onResult)];
}

/** A breakage for which no store of ours has anything to break would count as caught by being left out. */
function untried(results: readonly Result[], wanted: Chooser, onResult: OnResult): Result[] {
  const tried = new Set(results.map(({ name }) => name));
  const left = [...BREAKAGES, ...SOURCE].filter(({ name }) => wanted(name) && !tried.has(name));
  return left.map(({ name, sentence }) => {
    const message = "It was not tried, because no store has what it breaks.";
    const result: Result = { name, sentence, outcome: "missed", by: "nobody", code: "", message, seconds: 0 };
    onResult(result);
    return result;
  });
}

async function breakMain(context: Context, wanted: Chooser, onResult: OnResult): Promise<Result[]> {
  const itself = { name: "the store that is broken", sentence: "Nothing, with a promotion and a tablespace" };
  const breakages = BREAKAGES.filter(({ name }) => wanted(name) && !PARTIAL.test(name));
  if (breakages.length === 0) return [];
  await using store = await makeHealthyStore(context);
  return await lookAndBreak(store.place, itself, breakages, onResult);
}

/** What only a store has whose newest WAL was streamed. */
const PARTIAL = /partial/;

async function lookAndBreak(
  place: Place,
  variant: Pick<Variant, "name" | "sentence">,
  breakages: readonly Breakage[],
  onResult: OnResult,
): Promise<Result[]> {
  await using opened = await openSubject(place.runbookFile, place.component, place.context);
  const healthy = await standsUp(opened.subject, variant);
  onResult(healthy);
  return [healthy, ...(await sabotage(opened.subject, breakages, onResult))];
}

async function tryVariants(context: Context, wanted: Chooser, onResult: OnResult): Promise<Result[]> {
  const partials = BREAKAGES.filter(({ name }) => PARTIAL.test(name) && wanted(name));
  const chosen = HEALTHY.filter(({ name }) => wanted(name) || (PARTIAL.test(name) && partials.length > 0));
  if (chosen.length === 0) return [];
  await using server = await startPostgres({ initdbArgs: SMALL_SEGMENTS });
  await fill(server);
  const results: Result[] = [];
  for (const variant of chosen) {
    context.signal.throwIfAborted();
    await using stack = new AsyncDisposableStack();
    const place = await variant.make({ server, context, stack });
    const breakages = PARTIAL.test(variant.name) ? partials : [];
    results.push(...(await lookAndBreak(place, variant, breakages, onResult)));
  }
  return results;
}

async function breakSources(context: Context, wanted: Chooser, onResult: OnResult): Promise<Result[]> {
  const results: Result[] = [];
  for (const breakage of SOURCE.filter(({ name }) => wanted(name))) {
    context.signal.throwIfAborted();
    await using stack = new AsyncDisposableStack();
    const { runbookFile, component, context: own } = await brokenSource(breakage, context, stack);
    await using opened = await openSubject(runbookFile, component, own);
    const { name, sentence, expected } = breakage;
    results.push(...(await sabotage(opened.subject, [{ name, sentence, expected }], onResult)));
  }
  return results;
}
