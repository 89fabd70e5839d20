import type { z } from "zod";
import { orList, quote } from "../quote.ts";
import { childOf, formsOf, hasForm, type JsonSchema, schemaAt } from "./json-schema.ts";
import { type Path, problemAt, type RunbookProblem } from "./problem.ts";
import type { Source } from "./source.ts";
import { nearest } from "./suggest.ts";

type Issue = z.core.$ZodIssue;

/** Turns what zod found into sentences: key, what is wrong, what is allowed, and where it stands. */
export function problemsOf(issues: readonly Issue[], source: Source, schema: JsonSchema): RunbookProblem[] {
  return issues.flatMap((issue) => problemsOfIssue(issue, [], source, schema));
}

function problemsOfIssue(issue: Issue, above: Path, source: Source, schema: JsonSchema): RunbookProblem[] {
  const path: Path = [...above, ...(issue.path as Path)];
  const value = path.reduce<unknown>(childOf, source.value);
  const here = schemaAt(schema, source.value, path);
  const say = (clause: string) => [problemAt(path, clause, source.locate(path))];

  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => unknownKey(path, key, here, source));
  }
  if (issue.code === "invalid_key") {
    const key = path.at(-1) ?? "";
    const clause = issue.issues[0]?.message ?? "is no name";
    return [problemAt(path, clause, source.locateKey(path.slice(0, -1), String(key)))];
  }
  if (value === undefined && path.length > 0 && issue.code !== "custom") {
    if (isMisspelled(path, source, schema)) return [];
    return say(`is missing${described(here)}`);
  }
  if (value === null && issue.code !== "custom") return say(emptyClause(here));
  if (issue.code === "invalid_union") {
    if (issue.discriminator !== undefined) return say(unknownType(path, value, source, schema));
    return problemsOfUnion(issue, path, source, schema);
  }
  return say(isOurs(issue) ? issue.message : clauseOf(issue, value, here));
}

function unknownKey(path: Path, key: string, here: JsonSchema | undefined, source: Source): RunbookProblem {
  const known = knownKeys(here);
  const meant = nearest(key, known);
  const hint = meant === undefined ? "" : `: did you mean ${meant}?`;
  const allowed = [...new Set(known)].join(", ");
  const clause = `is no known key${hint === "" ? ";" : hint} ${hint === "" ? "allowed" : "Allowed"} here: ${allowed}`;
  return problemAt([...path, key], clause, source.locateKey(path, key));
}

function knownKeys(here: JsonSchema | undefined): string[] {
  const forms = formsOf(here);
  return (forms.length > 0 ? forms : [here]).flatMap((form) => Object.keys(form?.properties ?? {}));
}

/** Whether a key that is missing stands there with a wrong spelling: one sentence about it is enough. */
function isMisspelled(path: Path, source: Source, schema: JsonSchema): boolean {
  const above = path.slice(0, -1);
  const parent = above.reduce<unknown>(childOf, source.value);
  if (typeof parent !== "object" || parent === null) return false;
  const known = knownKeys(schemaAt(schema, source.value, above));
  const unknown = Object.keys(parent).filter((key) => !known.includes(key));
  return unknown.some((key) => nearest(key, known) === path.at(-1));
}

/** The issue stands at the key that tells the forms apart. */
function unknownType(path: Path, value: unknown, source: Source, schema: JsonSchema): string {
  const above = schemaAt(schema, source.value, path.slice(0, -1));
  const types = formsOf(above).map((form) => String(form.properties?.type?.const));
  return `must be ${orList(types)}, not ${quote(value)}`;
}

function problemsOfUnion(
  issue: z.core.$ZodIssueInvalidUnion,
  path: Path,
  source: Source,
  schema: JsonSchema,
): RunbookProblem[] {
  const value = path.reduce<unknown>(childOf, source.value);
  const say = (clause: string) => [problemAt(path, clause, source.locate(path))];
  const parent = schemaAt(schema, source.value, path.slice(0, -1));
  const last = path.at(-1) ?? "";
  const union = typeof last === "number" ? parent?.items : parent?.properties?.[last];
  const forms = formsOf(union);
  const marks = forms.map((form) => form.required?.[0] ?? "");
  // A union of plain values, such as a number or a text, says what it allows itself.
  if (forms.length === 0 || marks.includes("")) {
    return say(isOurs(issue) ? issue.message : `has a value of the wrong type${described(union)}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return say(`must be a map with one of ${orList(marks)}, not ${quote(value)}`);
  }
  const matching = forms.flatMap((form, index) => (hasForm(form, value) ? [index] : []));
  if (matching.length === 1) {
    const inner = issue.errors[matching[0] ?? 0] ?? [];
    return inner.flatMap((nested) => problemsOfIssue(nested, path, source, schema));
  }
  const given = matching.map((index) => marks[index] ?? "");
  if (given.length > 1) return say(`has ${given.join(" and ")}, but only one of them is allowed`);
  const [wrong, meant] = Object.keys(value).flatMap((key) => {
    const known = nearest(key, marks);
    return known === undefined ? [] : [key, known];
  });
  const hint = wrong === undefined ? "" : `; did you mean ${meant} where it says ${quote(wrong)}?`;
  return say(`must have one of ${orList(marks)}${hint}`);
}

/** zod's own words are for programmers; those that our schemas give are the end of a sentence. */
function isOurs(issue: Issue): boolean {
  return !/^(?:Invalid|Too|Unrecognized|Expected)\b/.test(issue.message);
}

function clauseOf(issue: Issue, value: unknown, here: JsonSchema | undefined): string {
  switch (issue.code) {
    case "invalid_type":
      return `must be ${words(issue.expected)}${example(here)}, not ${quote(value)}`;
    case "invalid_value":
      return `must be ${orList(issue.values.map(String))}, not ${quote(value)}`;
    case "too_small":
      if (issue.origin === "string") return "must not be empty";
      if (issue.origin === "array") return `must have at least ${entries(issue.minimum)}`;
      return `must be at least ${issue.minimum}, not ${quote(value)}`;
    case "too_big":
      if (issue.origin === "array") return `must have at most ${entries(issue.maximum)}`;
      return `must be at most ${issue.maximum}, not ${quote(value)}`;
    default:
      return `is ${quote(value)}, which is not allowed${described(here)}`;
  }
}

function entries(count: number | bigint): string {
  return `${count} ${Number(count) === 1 ? "entry" : "entries"}`;
}

const WORDS: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  object: "a map",
  record: "a map",
  array: "a list",
};

function words(expected: string): string {
  return WORDS[expected] ?? expected;
}

function emptyClause(here: JsonSchema | undefined): string {
  return `is empty: write a value or remove the key${described(here, ". It is: ")}`;
}

/** What belongs there, from the schema's own description. */
function described(here: JsonSchema | undefined, lead = ": "): string {
  const description = here?.description;
  if (description === undefined) return "";
  const first = description.split(/[.:]\s|\.$/)[0] ?? "";
  // An abbreviation such as URI keeps its capitals.
  const start = /^[A-Z](?![A-Z])/.test(first) ? first.charAt(0).toLowerCase() : first.charAt(0);
  return `${lead}${start}${first.slice(1)}${example(here)}`;
}

function example(here: JsonSchema | undefined): string {
  const first = here?.examples?.[0];
  return first === undefined || typeof first === "object" ? "" : `, such as ${first}`;
}
