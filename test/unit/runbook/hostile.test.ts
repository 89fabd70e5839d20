import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { runbookJsonSchema } from "../../../src/runbook/json-schema.ts";
import { parseRunbook } from "../../../src/runbook/load.ts";
import { RunbookError } from "../../../src/runbook/problem.ts";
import { FILE, FULL } from "./fixtures.ts";
import { violations } from "./validate.ts";

const ROUNDS = 1_200;
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
    const faults: string[] = [];
    for (let seed = 1; seed <= ROUNDS; seed += 1) {
      const { text, withSecret } = spoiled(seed);
      const found = faultsOf(text);
      if (found === "accepted") {
        accepted += 1;
        if (withSecret) faults.push(`seed ${seed}: accepted with a secret`);
        faults.push(
          ...violations(SCHEMA, parse(text, { stringKeys: true })).map(
            (violation) => `seed ${seed}: ${violation}`,
          ),
        );
      } else {
        faults.push(...found.map((fault) => `seed ${seed}: ${fault}`));
      }
    }
    expect(faults).toEqual([]);
    // Both kinds must occur, or this test shows nothing.
    expect(accepted).toBeGreaterThan(ROUNDS / 20);
    expect(accepted).toBeLessThan(ROUNDS / 2);
  }, 60_000);

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

/** What is wrong with the refusal of a text. */
function faultsOf(text: string): "accepted" | string[] {
  try {
    parseRunbook(text, FILE);
    return "accepted";
  } catch (error) {
    if (!(error instanceof RunbookError)) throw error;
    if (error.problems.length === 0) return ["nothing is said"];
    const lines = text.split("\n");
    return error.problems.flatMap(({ message, location: { file, line, column } }) => {
      const sentence = /^runbook\.yml:\d+: [^\n]+[.!?]$/.test(message) && message.length < 600;
      const clean = !/undefined|\[object|NaN/.test(message) && !message.includes(SECRET);
      const inFile = file === FILE && line >= 1 && line <= lines.length;
      const inLine = column >= 1 && column <= (lines[line - 1]?.length ?? 0) + 1;
      return sentence && clean && inFile && inLine ? [] : [`${line}:${column} ${message}`];
    });
  }
}
