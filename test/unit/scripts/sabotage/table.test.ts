import { expect, test } from "vitest";
import { BREAKAGES } from "../../../../scripts/sabotage/breakages/all.ts";
import { HEALTHY } from "../../../../scripts/sabotage/healthy.ts";
import type { Result } from "../../../../scripts/sabotage/run.ts";
import { SOURCE } from "../../../../scripts/sabotage/source-breakages.ts";
import { lineOf, scoreOf } from "../../../../scripts/sabotage/table.ts";

function result(outcome: Result["outcome"]): Result {
  const about = { name: "a", sentence: "b", by: "drill", code: "c", message: "Nobody saw it.", seconds: 1 };
  return { ...about, outcome };
}

test("everything that is caught, and nothing that is blamed, is a full score", () => {
  expect(scoreOf([result("green"), result("caught"), result("caught")])).toEqual({
    ok: true,
    ...{ caught: 2, broken: 2, green: 1, healthy: 1 },
  });
});

test.each(["missed", "misnamed", "false alarm"] as const)("one %s is enough to fail", (outcome) => {
  expect(scoreOf([result("green"), result("caught"), result(outcome)]).ok).toBe(false);
  expect(lineOf(result(outcome))).toMatch(/^NO .*\n {3}[A-Z ]+: Nobody saw it\.$/);
});

test("nothing that was tried is no full score", () => {
  expect(scoreOf([]).ok).toBe(false);
  expect(scoreOf([result("caught")]).ok).toBe(false);
  expect(scoreOf([result("green")]).ok).toBe(false);
});

test("the suite is as large as it says, and no two of its names are the same", () => {
  const names = [...BREAKAGES, ...SOURCE, ...HEALTHY].map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  expect(BREAKAGES.length + SOURCE.length).toBeGreaterThanOrEqual(40);
  expect(HEALTHY.length).toBeGreaterThanOrEqual(10);
});
