import { describe, expect, it } from "vitest";
import { type PlanRequest, planDrill } from "../../../src/drill/plan.ts";
import { UserError } from "../../../src/errors.ts";
import { runbookOf } from "./runbook.ts";

const YAML = `
objectives:
  production: { rto: 4h, rpo: 1h, protected: true }
  drill: { rto: 90m, rpo: 24h }
components:
  db:
    type: postgres
    store: local
    connection: \${DATABASE_URL}
    objectives: { rto: 2h, rpo: 5m }
    checks: [{ query: SELECT count(*) FROM orders, expect: ">= 1" }]
  bare: { type: postgres, store: local, connection: "\${OTHER_URL}" }
scenarios:
  database-lost:
    steps:
      - { run: echo real, when: restore }
      - recover: db
      - check: { run: ./smoke.sh }
`;

function plan(request: Partial<PlanRequest>, yaml = YAML) {
  return planDrill(runbookOf(yaml).config, { environment: "drill", ...request });
}

describe("the plan of a drill", () => {
  it("takes the named scenario", () => {
    const found = plan({ scenario: "database-lost" });
    expect(found.scenario).toBe("database-lost");
    expect(found.steps).toHaveLength(3);
    expect(found.recovers).toEqual(["db"]);
  });

  it("recovers named components one after the other, each once", () => {
    const found = plan({ components: ["db", "db"] });
    expect(found).toMatchObject({ scenario: "db", recovers: ["db"], steps: [{ recover: "db" }] });
  });

  it("takes the only scenario when none is named", () => {
    const yaml = YAML.replace(/ {2}bare:.*\n/, "");
    expect(plan({}, yaml).scenario).toBe("database-lost");
  });

  it("lets a component tighten the objectives of the environment, never loosen them", () => {
    expect(plan({ scenario: "database-lost" }).objectives).toEqual({ rtoSeconds: 5400, rpoSeconds: 300 });
  });

  it("takes any environment when the runbook declares none", () => {
    const yaml = YAML.replace(/objectives:\n(?: {2}.*\n){2}/, "").replace(/ {4}objectives: .*\n/, "");
    expect(plan({ environment: "staging", scenario: "database-lost" }, yaml).objectives).toEqual({
      rtoSeconds: null,
      rpoSeconds: null,
    });
  });
});

describe("a drill is refused", () => {
  it.each<[string, Partial<PlanRequest>, RegExp]>([
    [
      "in a protected environment",
      { environment: "production", scenario: "database-lost" },
      /production is protected.*use drill/,
    ],
    [
      "in an unknown environment",
      { environment: "staging", scenario: "database-lost" },
      /staging is not in the runbook's objectives: use production or drill/,
    ],
    ["of an unknown scenario", { scenario: "fire" }, /no scenario "fire": choose database-lost, db or bare/],
    ["of an unknown component", { components: ["db", "nope"] }, /no component "nope": choose db or bare/],
    [
      "of a component without checks",
      { components: ["db", "bare"] },
      /bare has nothing that proves the data/,
    ],
    [
      "of a component without checks by its implicit scenario",
      { scenario: "bare" },
      /bare has nothing that proves the data/,
    ],
    [
      "with both a scenario and components",
      { scenario: "database-lost", components: ["db"] },
      /either a scenario or components/,
    ],
    [
      "when there is a choice and none was made",
      {},
      /more than one scenario to drill: name one of database-lost or bare/,
    ],
    ["of names that every object has", { scenario: "constructor" }, /no scenario "constructor"/],
    [
      "in an environment that every object has",
      { environment: "constructor", scenario: "database-lost" },
      /constructor is not in/,
    ],
  ])("%s", (_, request, message) => {
    expect(() => plan(request)).toThrow(UserError);
    expect(() => plan(request)).toThrow(message);
  });
});
