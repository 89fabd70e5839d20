import { afterEach, expect, test, vi } from "vitest";
import { UserError } from "../../../src/errors.ts";
import {
  choice,
  duration,
  flag,
  integer,
  list,
  optionalInteger,
  optionalText,
  readInputs,
  text,
} from "../../../src/github/inputs.ts";

const readers = {
  runbook: text(".github/runbook.yml"),
  components: list(),
  kind: choice("full", "wal"),
  prune: flag(true),
  "retention-days": optionalInteger(1, 400),
  history: integer(12, 1, 1000),
  "stream-for": duration("0s"),
  scenario: optionalText(),
};

afterEach(() => vi.unstubAllEnvs());

function give(inputs: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(inputs)) vi.stubEnv(`INPUT_${name.toUpperCase()}`, value);
}

test("absent inputs take the defaults that action.yml would give", () => {
  expect(readInputs(readers)).toEqual({
    runbook: ".github/runbook.yml",
    components: [],
    kind: "full",
    prune: true,
    "retention-days": undefined,
    history: 12,
    "stream-for": 0,
    scenario: undefined,
  });
});

test("given inputs are read as their types", () => {
  give({
    runbook: "ops/rb.yml",
    components: "db, cache\n\nuploads,",
    kind: "wal",
    prune: "FALSE",
    "retention-days": "90",
    history: "3",
    "stream-for": "1h30m",
    scenario: "database-lost",
  });

  expect(readInputs(readers)).toEqual({
    runbook: "ops/rb.yml",
    components: ["db", "cache", "uploads"],
    kind: "wal",
    prune: false,
    "retention-days": 90,
    history: 3,
    "stream-for": 5400,
    scenario: "database-lost",
  });
});

test("every wrong input is named at once, with what is allowed", () => {
  give({ kind: "incremental", prune: "yes", "retention-days": "0", history: "12.5", "stream-for": "1 hour" });

  const reading = () => readInputs(readers);

  expect(reading).toThrow(UserError);
  expect(reading).toThrow(/kind is "incremental": use full or wal\./);
  expect(reading).toThrow(/prune is "yes": use true or false\./);
  expect(reading).toThrow(/retention-days is "0": use a whole number from 1 to 400\./);
  expect(reading).toThrow(/history is "12\.5": use a whole number from 1 to 1000\./);
  expect(reading).toThrow(/stream-for is "1 hour": use a duration such as/);
});
