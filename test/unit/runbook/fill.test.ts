import { describe, expect, test } from "vitest";
import { UserError } from "../../../src/errors.ts";
import { fillAll, fillValue } from "../../../src/runbook/fill.ts";
import { FILE, runbookOf, SMALL } from "./fixtures.ts";

const RUNBOOK = runbookOf(SMALL);
const CONNECTION = ["components", "db", "connection"];
const fill = (text: string, env: Record<string, string | undefined> = {}) =>
  fillValue(RUNBOOK, CONNECTION, text, env);

describe("a value", () => {
  test.each([
    ["plain", {}, "plain"],
    [`\${A}`, { A: "x" }, "x"],
    [`<\${A}-\${B}>`, { A: "x", B: "y" }, "<x-y>"],
    [`\${A:-d}`, { A: "x" }, "x"],
    [`\${A:-d}`, {}, "d"],
    [`\${A:-d}`, { A: "" }, "d"],
    [`\${A:-}`, {}, ""],
    ["$$5", {}, "$5"],
    [`$\${A}`, { A: "x" }, `\${A}`],
    ["$A", { A: "x" }, "$A"],
    // What a variable holds is not filled once more.
    [`\${A}`, { A: `\${B} $$`, B: "y" }, `\${B} $$`],
  ])("%s with %j becomes %s", (text, env, expected) => expect(fill(text, env)).toBe(expected));

  test.each([{}, { DATABASE_URL: "" }])("with %j names the variable, the key and the line", (env) => {
    const location = { file: FILE, line: 9, column: 17 };
    expect(() => fill(`\${DATABASE_URL}`, env)).toThrow(UserError);
    expect(() => fill(`\${DATABASE_URL}`, env)).toThrow(
      `components.db.connection (${FILE}:9) needs the environment variable DATABASE_URL, which is not set or empty`,
    );
    expect(() => fill(`\${DATABASE_URL}`, env)).toThrow(expect.objectContaining({ location }));
  });

  test("that is malformed is refused as well when it is used", () => {
    expect(() => fill(`\${A`)).toThrow(/components\.db\.connection .* has a \$\{ that is never closed/);
  });

  test("is not filled when the runbook is read", () => {
    expect(RUNBOOK.config.components.db?.connection).toBe(`\${DATABASE_URL}`);
  });
});

test("all texts of a map are filled, and those that are left empty go", () => {
  const value = { a: `\${A}`, b: [`\${A}`, 5, true], c: { d: `\${NO:-}`, e: "" }, f: null };
  expect(fillAll(RUNBOOK, ["stores"], value, { A: "x" })).toEqual({
    a: "x",
    b: ["x", 5, true],
    c: { e: "" },
    f: null,
  });
});
