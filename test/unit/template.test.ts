import { describe, expect, test } from "vitest";
import { hasLiteralPassword, isFromEnvironment, passwordsIn } from "../../src/secrets.ts";
import { readTemplate } from "../../src/template.ts";

const variable = (name: string, fallback?: string) => ({ name, fallback });

describe("a template", () => {
  test.each([
    ["plain", ["plain"]],
    ["", []],
    [`\${A}`, [variable("A")]],
    [`x\${A_1}y`, ["x", variable("A_1"), "y"]],
    [`\${A}\${B}`, [variable("A"), variable("B")]],
    [`\${A:-b c}`, [variable("A", "b c")]],
    [`\${A:-}`, [variable("A", "")]],
    ["$$", ["$"]],
    [`$\${A}`, [`\${A}`]],
    [`$$\${A}`, ["$", variable("A")]],
    ["5$ and $A", ["5$ and $A"]],
    ["end$", ["end$"]],
  ])("%s is taken apart", (text, parts) => {
    expect(readTemplate(text)).toEqual({ parts, problem: undefined });
  });

  test.each([
    [`\${`, /never closed/],
    [`\${A`, /never closed/],
    [`\${}`, /names no variable/],
    [`\${1A}`, /names no variable/],
    [`\${A-b}`, /names no variable/],
    [`\${A B}`, /names no variable/],
    [`\${A:?must}`, /names no variable/],
    [`\${A:-\${B}}`, /names no variable/],
    [`\${{ secrets.A }}`, /GitHub expression/],
  ])("%s is malformed", (text, message) => {
    expect(readTemplate(text).problem).toMatch(message);
  });
});

describe("a literal password", () => {
  test.each([
    "postgres://app:hunter2@db/shop",
    "postgres://app:hunter2@[::1]:5432/shop",
    `postgres://app:hun\${X}ter@db/shop`,
    "postgres://app:p/w@db/shop",
    "postgres://app:p@w@db/shop",
    "postgres://db/shop?user=app&password=hunter2",
    "host=db password=hunter2",
    `\${URL:-postgres://app:hunter2@db/shop}`,
    `postgres://app:\${A}\${B:-hunter2}@db/shop`,
    `postgres://app:\${PASSWORD:-hunter2}@db/shop`,
  ])("is seen in %s", (text) => expect(hasLiteralPassword(text)).toBe(true));

  test.each([
    "postgres://app@db:5432/shop",
    "postgres://db:5432/shop?options=-c%20a=b",
    `postgres://app:\${PASSWORD}@db/shop`,
    `postgres://\${USER}:\${PASSWORD}@\${HOST}:5432/shop`,
    `postgres://db/shop?password=\${PASSWORD}`,
    `\${DATABASE_URL}`,
    "https://example.com/a:b",
    "/var/backups",
  ])("is not in %s", (text) => expect(hasLiteralPassword(text)).toBe(false));
});

test.each([
  [`\${A}`, true],
  [`https://hooks.example/\${A}`, true],
  [`\${A:-}`, true],
  [`\${A:-literal}`, false],
  ["literal", false],
  [`\${A}\${B:-literal}`, false],
])("%s comes from the environment: %s", (text, expected) => expect(isFromEnvironment(text)).toBe(expected));

test("passwords are found as written and decoded", () => {
  expect(passwordsIn("postgres://app:p%40ss@db/shop")).toEqual(["p%40ss", "p@ss"]);
  expect(passwordsIn("postgres://db/shop?password=a%20b")).toEqual(["a%20b", "a b"]);
  expect(passwordsIn("postgres://app:100%@db/shop")).toEqual(["100%"]);
  expect(passwordsIn("postgres://app@db/shop")).toEqual([]);
});
