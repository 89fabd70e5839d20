import { z } from "zod";
import { drillRecord } from "../record.ts";
import { runbookConfig } from "./schema.ts";

/** The part of JSON Schema that zod writes for us. */
export interface JsonSchema {
  readonly [key: string]: unknown;
  readonly description?: string;
  readonly examples?: readonly unknown[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: JsonSchema | boolean;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly required?: readonly string[];
  readonly const?: unknown;
}

let runbookSchema: JsonSchema | undefined;

/** The runbook as people write it. Draft 7, which the YAML servers of editors read best. */
export function runbookJsonSchema(): JsonSchema {
  runbookSchema ??= z.toJSONSchema(runbookConfig, {
    io: "input",
    target: "draft-7",
    // zod drops the examples of what it transforms, such as durations; ours show what is written.
    override: ({ zodSchema, jsonSchema }) => {
      const { examples } = z.globalRegistry.get(zodSchema) ?? {};
      if (Array.isArray(examples)) jsonSchema.examples = examples;
    },
  }) as JsonSchema;
  return runbookSchema;
}

/** The drill record as it is written. */
export function drillRecordJsonSchema(): JsonSchema {
  return z.toJSONSchema(drillRecord, { io: "output", target: "draft-7" }) as JsonSchema;
}

/** The schema of the value at `path`; of several forms the one that `value`, the whole document, has. */
export function schemaAt(
  root: JsonSchema,
  value: unknown,
  path: readonly (string | number)[],
): JsonSchema | undefined {
  let schema: JsonSchema | undefined = formOf(root, value);
  let current = value;
  for (const part of path) {
    current = childOf(current, part);
    const child: JsonSchema | boolean | undefined =
      typeof part === "number"
        ? schema?.items
        : (own(schema?.properties, part) ?? schema?.additionalProperties);
    schema = typeof child === "object" ? formOf(child, current) : undefined;
  }
  return schema;
}

/** The forms a value may have, such as the kinds of a step. Empty when there is only one. */
export function formsOf(schema: JsonSchema | undefined): readonly JsonSchema[] {
  return schema?.oneOf ?? schema?.anyOf ?? [];
}

/** Whether a map has what tells this form from the others: its `type`, or one of its required keys. */
export function hasForm(form: JsonSchema, value: unknown): boolean {
  const type = form.properties?.type?.const;
  if (type !== undefined) return childOf(value, "type") === type;
  return (form.required ?? []).some((key) => childOf(value, key) !== undefined);
}

function formOf(schema: JsonSchema, value: unknown): JsonSchema {
  const forms = formsOf(schema).filter((form) => hasForm(form, value));
  return forms.length === 1 && forms[0] !== undefined ? forms[0] : schema;
}

/** The value of a key or index, if it has one of its own. */
export function childOf(value: unknown, part: string | number): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  return Object.hasOwn(value, part) ? (value as Record<string | number, unknown>)[part] : undefined;
}

function own(
  properties: Readonly<Record<string, JsonSchema>> | undefined,
  key: string,
): JsonSchema | undefined {
  return properties !== undefined && Object.hasOwn(properties, key) ? properties[key] : undefined;
}
