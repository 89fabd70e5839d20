import { compareFlaws } from "../census/compare.ts";
import { censusOf, type Flaw, type SchemaObject } from "../census/document.ts";
import { readObjects } from "../census/objects.ts";
import { type Answer, boundedLines, type Ground } from "./ground.ts";
import { isSteady } from "./steadiness.ts";

/** The objects of each database, read once for all checks that look at them. */
export type ObjectsByDatabase = ReadonlyMap<string, readonly SchemaObject[]>;

export async function readAllObjects(ground: Ground): Promise<ObjectsByDatabase> {
  const objects = new Map<string, readonly SchemaObject[]>();
  for (const database of ground.databases) {
    const session = await ground.openSpelling(database);
    try {
      objects.set(database, await readObjects((text, values) => session.query(text, values), ground.major));
    } finally {
      await session.close();
    }
  }
  return objects;
}

/** What is told of objects of one kind whose state a source can have too. */
export interface FlawKind {
  readonly flaw: Flaw;
  readonly kind: string;
  readonly words: string;
  readonly expected: string;
}

export const FLAWS: Readonly<Record<"indexes" | "constraints" | "views", FlawKind>> = {
  indexes: { flaw: "invalid", kind: "index", words: "invalid", expected: "no index invalid that was valid" },
  constraints: {
    flaw: "not valid",
    kind: "constraint",
    words: "not valid",
    expected: "no constraint not valid that was valid",
  },
  views: {
    flaw: "unpopulated",
    kind: "materialized view",
    words: "unpopulated",
    expected: "no materialized view empty that was populated",
  },
};

/**
 * A flaw that the census has too, or of an object that is newer than it, is the source's own and only noted. One that
 * came after the census is a failure when nothing changed the schema in between, else it may be the source's too.
 */
export function judgeFlaws(ground: Ground, all: ObjectsByDatabase, asked: FlawKind): Answer {
  let total = 0;
  let failed = 0;
  let unknown = 0;
  const notes: string[] = [];
  for (const [database, objects] of all) {
    const then = censusOf(ground.census, database);
    total += objects.filter((one) => one.kind === asked.kind).length;
    const { known, turned, fresh } = compareFlaws(then?.objects ?? [], objects, asked.flaw);
    const steady = then !== undefined && isSteady(then.steady, ground.reachedLsn);
    const say = (ones: readonly SchemaObject[], what: string) =>
      notes.push(...ones.map((one) => `${database}: ${one.kind} ${one.name} is ${asked.words}${what}`));
    if (then === undefined) {
      unknown += fresh.length;
      say(fresh, ", and without a census nobody knows whether it is so in the source");
      continue;
    }
    const wrong = steady ? [...turned, ...fresh] : [];
    failed += wrong.length;
    say(wrong, ", and was not when the backup was taken");
    say(known, ", as in the source");
    if (!steady) say([...turned, ...fresh], " since a change after the census");
  }
  const parts = [`checked ${total} of ${total}`];
  if (notes.length > 0) parts.push(`${notes.length} ${asked.words}`);
  if (notes.length > 0 && failed + unknown === 0) parts.push("as in the source or changed after the census");
  if (failed > 0) parts.push(`${failed} of them not so when the backup was taken`);
  const status = failed > 0 ? "failed" : unknown > 0 ? "unverified" : "passed";
  const lines = boundedLines(notes);
  return {
    status,
    expected: asked.expected,
    actual: parts.join(", "),
    ...(lines.length === 0 ? {} : { lines }),
  };
}
