import { describe, expect, test } from "vitest";
import { UserError } from "../../../src/errors.ts";
import { allScenarios, findScenario, isTaken, proofOf, recoveredBy } from "../../../src/runbook/scenario.ts";
import { type RunbookConfig, runbookConfig } from "../../../src/runbook/schema.ts";
import { FULL, runbookOf, SMALL } from "./fixtures.ts";

const FULL_CONFIG = runbookOf(FULL).config;

/** `sure` has a check, `bare` has none. */
function configWith(...steps: object[]): RunbookConfig {
  const component = { type: "postgres", store: "local", connection: "postgres://db/shop" };
  return runbookConfig.parse({
    version: 1,
    service: "shop",
    stores: { local: { type: "file", path: "/backups" } },
    components: {
      sure: { ...component, checks: [{ query: "SELECT count(*) FROM orders", expect: ">= 1" }] },
      bare: component,
    },
    scenarios: { lost: { steps } },
  });
}

function proofs(...steps: object[]): string[] {
  const config = configWith(...steps);
  return proofOf(config, findScenario(config, "lost").scenario);
}

describe("what proves data", () => {
  test("the checks of a recovered component", () => {
    expect(proofs({ recover: "sure" })).toEqual(["the checks of sure"]);
    expect(proofs({ recover: "bare" })).toEqual([]);
  });

  test("a command or values in an answer, after a recovery", () => {
    expect(proofs({ recover: "bare" }, { check: { run: "./smoke.sh" } })).toEqual(["the command ./smoke.sh"]);
    expect(proofs({ recover: "bare" }, { check: { url: "http://a", json: { ok: true } } })).toHaveLength(1);
    expect(proofs({ check: { run: "./smoke.sh" } }, { recover: "bare" })).toEqual([]);
  });

  test("not that a URL answers, and not a step that only runs", () => {
    expect(proofs({ recover: "bare" }, { check: { url: "http://a" } }, { run: "true" })).toEqual([]);
  });

  test("nothing that a drill leaves out", () => {
    expect(proofs({ recover: "sure", when: "restore" })).toEqual([]);
    expect(proofs({ recover: "bare" }, { check: { run: "./smoke.sh" }, when: "restore" })).toEqual([]);
    expect(proofs({ recover: "sure", when: "drill" })).toHaveLength(1);
  });
});

describe("scenarios", () => {
  test("are found by name, and a component's own by that of the component", () => {
    expect(findScenario(FULL_CONFIG, "database-lost")).toMatchObject({ implicit: false });
    expect(findScenario(FULL_CONFIG, "db")).toEqual({
      name: "db",
      implicit: true,
      scenario: { title: "Recover db", steps: [{ recover: "db", when: "always" }] },
    });
  });

  test("that do not exist are refused with the names that do", () => {
    expect(() => findScenario(FULL_CONFIG, "fire")).toThrow(UserError);
    expect(() => findScenario(FULL_CONFIG, "fire")).toThrow(
      'no scenario "fire": choose database-lost or db.',
    );
    expect(() => findScenario(FULL_CONFIG, "toString")).toThrow(UserError);
  });

  test("are those of the runbook, and the own ones of components that none recovers in a drill", () => {
    expect(allScenarios(FULL_CONFIG).map(({ name }) => name)).toEqual(["database-lost"]);
    expect(allScenarios(runbookOf(SMALL).config).map(({ name }) => name)).toEqual(["db"]);
    const config = configWith({ recover: "sure" }, { recover: "bare", when: "restore" });
    expect(allScenarios(config).map(({ name }) => name)).toEqual(["lost", "bare"]);
  });

  test("recover other components in a drill than in a restore", () => {
    const { scenario } = findScenario(
      configWith({ recover: "sure", when: "drill" }, { recover: "bare", when: "restore" }),
      "lost",
    );
    expect(recoveredBy(scenario, "drill")).toEqual(["sure"]);
    expect(recoveredBy(scenario, "restore")).toEqual(["bare"]);
    expect(scenario.steps.map((step) => isTaken(step, "drill"))).toEqual([true, false]);
  });
});
