import { expect, test } from "vitest";
import { FILE, problemsIn, SMALL } from "./fixtures.ts";

/** In `text`, § stands just before the place that the problem must name. */
export interface Case {
  readonly name: string;
  readonly text: string;
  readonly says: readonly (string | RegExp)[];
}

export function small(change: (text: string) => string): string {
  const changed = change(SMALL);
  if (changed === SMALL) throw new Error("The case changes nothing.");
  return changed;
}

export const withCheck = (check: string) => `${SMALL}    checks:\n      - ${check}\n`;
export const withSteps = (...steps: string[]) =>
  `${withCheck('{ query: SELECT count(*) FROM orders, expect: ">= 1" }')}scenarios:\n  lost:\n    steps:\n${steps
    .map((step) => `      - ${step}\n`)
    .join("")}`;

/** Each case is one problem, told at its place, in a sentence, without a secret or a stack. */
export function testCases(cases: readonly Case[]): void {
  test.each(cases)("$name", ({ text, says }) => {
    const before = text.slice(0, text.indexOf("§")).split("\n");
    const problems = problemsIn(text.replace("§", ""));
    const [problem] = problems;
    const listed = problems.map(({ message }) => message).join("\n");
    expect(problems, listed).toHaveLength(1);
    for (const part of says) expect(problem?.message).toMatch(escaped(part));
    const place = brackets(text)
      ? { line: 1 }
      : { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
    expect(problem?.location).toMatchObject({ file: FILE, ...place });
    expect(problem?.message).toMatch(new RegExp(`^${FILE}:${place.line}: .*[.?]$`));
    expect(listed).not.toMatch(/hunter2|\n\s+at /i);
  });
}

/** Where the parser gives up depends on the stack that it has. */
function brackets(text: string): boolean {
  return text.length > 10_000;
}

function escaped(part: string | RegExp): RegExp {
  return part instanceof RegExp ? part : new RegExp(part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
}
