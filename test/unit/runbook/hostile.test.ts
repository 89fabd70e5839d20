import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { runbookJsonSchema } from "../../../src/runbook/json-schema.ts";
import { parseRunbook } from "../../../src/runbook/load.ts";
import { RunbookError } from "../../../src/runbook/problem.ts";
import { FILE, FULL } from "./fixtures.ts";
import { violations } from "./validate.ts";

const ROUNDS = 1_500;
const SECRET = "hunter2hunter2";
const LINES = FULL.split("\n");
const SCHEMA = runbookJsonSchema();

type Random = () => number;

/** mulberry32: the same numbers for the same seed. */
function randomFrom(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function pick<T>(random: Random, list: readonly [T, ...T[]]): T {
  return list[Math.floor(random() * list.length)] ?? list[0];
}

const SIGNS = [
  "\t",
  ":",
  ": ",
  "- ",
  "{",
  "}",
  "[",
  "]",
  ",",
  '"',
  "'",
  "#",
  "&a ",
  "*a",
  "!x ",
  "!!map ",
  "| ",
  "> ",
  "%",
  "@",
  "`",
  `\${`,
  `\${X}`,
  "$$",
  "\0",
  "\u0085",
  "\uFEFF",
  "😀",
  "\r",
  "\n",
  "\n\n---\n",
  "  ",
  "? ",
  "<<: ",
  "~",
  "__proto__: 1\n",
] as const;
const VALUES = [
  "null",
  "~",
  "true",
  "5",
  "-1",
  "1e999",
  ".nan",
  "0x1F",
  "[]",
  "{}",
  "[1, [2]]",
  "{ a: 1 }",
  '""',
  "text",
  "*x",
  "2026-09-01",
  "99999999999999999999999",
  "constructor",
  "__proto__",
  "toString",
  `"${"x".repeat(5_000)}"`,
] as const;

type Mutation = (line: string, random: Random) => string;

const insert: Mutation = (line, random) => {
  const at = Math.floor(random() * (line.length + 1));
  return line.slice(0, at) + pick(random, SIGNS) + line.slice(at);
};
const MUTATIONS = [
  insert,
  (line: string, random: Random) => `${insert(line, random)}\n${line}`,
  () => "",
  (line: string) => `${line}\n${line}`,
  (line: string, random: Random) => `${" ".repeat(Math.floor(random() * 6))}${line.trimStart()}`,
  (line: string, random: Random) => line.slice(0, Math.floor(random() * line.length)),
  (line: string, random: Random) => line.slice(Math.floor(random() * line.length)),
  (line: string, random: Random) => line.replace(/: .*$/, () => `: ${pick(random, VALUES)}`),
  (line: string, random: Random) =>
    line.replace(/^(\s*)[\w-]+:/, (_, indent) => `${indent}${pick(random, VALUES)}:`),
  (line: string, random: Random) => line.replace(/[\w-]+(?=[ ,}]*$)/, () => pick(random, VALUES)),
] as const;

/** A runbook with one to four lines spoiled, and sometimes a password in the one line that stays as it is. */
function spoiled(seed: number): { text: string; withSecret: boolean } {
  const random = randomFrom(seed);
  const lines = [...LINES];
  const kept = lines.findIndex((line) => line.includes("connection:"));
  const withSecret = random() < 0.3;
  if (withSecret) lines[kept] = `    connection: postgres://app:${SECRET}@db/shop`;
  for (let left = 1 + Math.floor(random() * 4); left > 0; left -= 1) {
    const at = Math.floor(random() * lines.length);
    if (at !== kept) lines[at] = pick(random, MUTATIONS)(lines[at] ?? "", random);
  }
  return { text: lines.join("\n"), withSecret };
}

describe("a spoiled runbook", () => {
  test("either loads or is refused in sentences with places, and never shows a secret", () => {
    let accepted = 0;
    for (let seed = 1; seed <= ROUNDS; seed += 1) {
      const { text, withSecret } = spoiled(seed);
      const note = `seed ${seed}`;
      try {
        const runbook = parseRunbook(text, FILE);
        accepted += 1;
        expect(withSecret, note).toBe(false);
        expect(violations(SCHEMA, parse(text)), note).toEqual([]);
        expect(runbook.locate(["components"]).line, note).toBeGreaterThan(0);
      } catch (error) {
        if (!(error instanceof RunbookError)) throw error;
        checkProblems(error, text, note);
      }
    }
    // Both kinds must occur, or this test shows nothing.
    expect(accepted).toBeGreaterThan(ROUNDS / 20);
    expect(accepted).toBeLessThan(ROUNDS / 2);
  });

  test("of random bytes is refused", () => {
    const random = randomFrom(7);
    for (let round = 0; round < 300; round += 1) {
      const length = Math.floor(random() * 200);
      const text = Array.from({ length }, () =>
        random() < 0.5 ? pick(random, SIGNS) : String.fromCharCode(Math.floor(random() * 256)),
      ).join("");
      expect(() => parseRunbook(text, FILE), JSON.stringify(text)).toThrow(RunbookError);
    }
  });
});

function checkProblems(error: RunbookError, text: string, note: string): void {
  const lines = text.split("\n");
  expect(error.problems.length, note).toBeGreaterThan(0);
  for (const { message, location } of error.problems) {
    expect(message, note).toMatch(/^runbook\.yml:\d+: .+[.!?]$/s);
    expect(message, note).not.toMatch(/undefined|\[object|NaN|\n/);
    expect(message, note).not.toContain(SECRET);
    expect(message.length, note).toBeLessThan(600);
    expect(location.file).toBe(FILE);
    expect(location.line, note).toBeGreaterThan(0);
    expect(location.line, note).toBeLessThanOrEqual(lines.length);
    expect(location.column, note).toBeGreaterThan(0);
    expect(location.column, note).toBeLessThanOrEqual((lines[location.line - 1]?.length ?? 0) + 1);
  }
}
