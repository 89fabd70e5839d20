import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import {
  drillRecordJsonSchema,
  type JsonSchema,
  runbookJsonSchema,
  schemaAt,
} from "../../../src/runbook/json-schema.ts";
import { FULL, SMALL } from "./fixtures.ts";
import { violations } from "./validate.ts";

const SCHEMA = runbookJsonSchema();

describe("the JSON schema of the runbook", () => {
  test("accepts what the loader accepts", () => {
    expect(violations(SCHEMA, parse(FULL))).toEqual([]);
    expect(violations(SCHEMA, parse(SMALL))).toEqual([]);
    expect(violations(SCHEMA, parse(`${SMALL}    checks: [{ rows: orders, tolerance: 5 }]`))).toEqual([]);
  });

  test.each([
    ["an unknown key", `${SMALL}objectivs: {}`],
    ["another version", SMALL.replace("version: 1", "version: 2")],
    ["a bad name", SMALL.replace("  db:", "  DB:")],
    ["a bad duration", `${SMALL}    freshness: { backup: 26 }`],
    ["another type", SMALL.replace("postgres", "redis")],
    ["a missing key", SMALL.replace("    store: local\n", "")],
    ["a step of no kind", `${SMALL}scenarios: { lost: { steps: [{ wait: 5 }] } }`],
    ["another word", `${SMALL}    method: logical`],
  ])("refuses %s", (_, text) => expect(violations(SCHEMA, parse(text))).not.toEqual([]));

  test("is draft 7, with a title", () => {
    expect(SCHEMA).toMatchObject({
      $schema: "http://json-schema.org/draft-07/schema#",
      title: "Drillbook runbook",
    });
  });

  test("explains every key to the writer", () => {
    const silent = undescribed(SCHEMA, "runbook");
    expect(silent).toEqual([]);
  });

  test("shows the defaults as they are written", () => {
    const component = schemaAt(SCHEMA, parse(SMALL), ["components", "db"]);
    expect(component?.properties?.method).toMatchObject({ default: "physical", enum: ["physical"] });
    expect(component?.properties?.wal?.properties?.slot).toMatchObject({ default: "drillbook" });
    const check = schemaAt(SCHEMA, parse(FULL), ["components", "db", "checks", 2]);
    expect(check?.properties?.tolerance).toMatchObject({ default: 0, examples: ["1%", 5] });
  });

  test("gives examples that it accepts itself", () => {
    const wrong = examplesOf(SCHEMA).filter(([schema, example]) => violations(schema, example).length > 0);
    expect(wrong).toEqual([]);
  });
});

test("the JSON schema of the drill record refuses another schema and a missing verdict", () => {
  const schema = drillRecordJsonSchema();
  const found = violations(schema, { schema: "other", id: 5 });
  expect(found).toContain("$: required");
  expect(found).toContain("$.schema: const");
  expect(found).toContain("$.id: type");
});

function children(schema: JsonSchema): [string, JsonSchema][] {
  const { properties = {}, items, additionalProperties, anyOf = [], oneOf = [] } = schema;
  const named = Object.entries(properties);
  const forms = [items, additionalProperties, ...anyOf, ...oneOf].filter(
    (child) => typeof child === "object",
  );
  return [...named, ...forms.map((child): [string, JsonSchema] => ["*", child])];
}

/** Keys that an editor could say nothing of. */
function undescribed(schema: JsonSchema, path: string): string[] {
  return children(schema).flatMap(([name, child]) => {
    const here = `${path}.${name}`;
    const silent = name !== "*" && (child.description ?? "") === "" ? [here] : [];
    return [...silent, ...undescribed(child, here)];
  });
}

function examplesOf(schema: JsonSchema): [JsonSchema, unknown][] {
  const own = (schema.examples ?? []).map((example): [JsonSchema, unknown] => [schema, example]);
  return [...own, ...children(schema).flatMap(([, child]) => examplesOf(child))];
}
