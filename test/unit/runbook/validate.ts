import type { JsonSchema } from "../../../src/runbook/json-schema.ts";

const IGNORED = new Set(["$schema", "description", "title", "examples", "default"]);

/** What a value violates of a JSON schema. Knows the keywords that the schemas use, and fails for any other. */
export function violations(schema: JsonSchema, value: unknown, at = "$"): string[] {
  return Object.entries(schema).flatMap(([keyword, rule]) =>
    IGNORED.has(keyword) ? [] : violated(schema, keyword, rule, value, at),
  );
}

function violated(schema: JsonSchema, keyword: string, rule: unknown, value: unknown, at: string): string[] {
  const fails = (wrong: boolean) => (wrong ? [`${at}: ${keyword}`] : []);
  const map = typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
  switch (keyword) {
    case "type":
      return fails(![rule].flat().some((type) => isOfType(value, String(type))));
    case "const":
      return fails(value !== rule);
    case "enum":
      return fails(!(rule as unknown[]).includes(value));
    case "pattern":
      return fails(typeof value === "string" && !new RegExp(String(rule), "u").test(value));
    case "minLength":
      return fails(typeof value === "string" && value.length < Number(rule));
    case "minimum":
      return fails(typeof value === "number" && value < Number(rule));
    case "maximum":
      return fails(typeof value === "number" && value > Number(rule));
    case "minItems":
      return fails(Array.isArray(value) && value.length < Number(rule));
    case "required":
      return fails(map !== undefined && (rule as string[]).some((key) => !Object.hasOwn(map, key)));
    case "anyOf":
      return fails(!(rule as JsonSchema[]).some((form) => violations(form, value, at).length === 0));
    case "oneOf":
      return fails(
        (rule as JsonSchema[]).filter((form) => violations(form, value, at).length === 0).length !== 1,
      );
    case "allOf":
      return (rule as JsonSchema[]).flatMap((part) => violations(part, value, at));
    case "items":
      return Array.isArray(value)
        ? value.flatMap((item, index) => violations(rule as JsonSchema, item, `${at}[${index}]`))
        : [];
    case "propertyNames":
      return Object.keys(map ?? {}).flatMap((key) =>
        violations(rule as JsonSchema, key, `${at} name ${key}`),
      );
    case "properties":
      return Object.entries(rule as Record<string, JsonSchema>).flatMap(([key, child]) =>
        map !== undefined && Object.hasOwn(map, key)
          ? violations(child, (map as Record<string, unknown>)[key], `${at}.${key}`)
          : [],
      );
    case "additionalProperties":
      return Object.entries(map ?? {}).flatMap(([key, child]) => {
        if (Object.hasOwn(schema.properties ?? {}, key)) return [];
        return rule === false
          ? [`${at}.${key}: unknown`]
          : violations(rule as JsonSchema, child, `${at}.${key}`);
      });
    default:
      throw new Error(`The keyword ${keyword} is not known to this validator.`);
  }
}

function isOfType(value: unknown, type: string): boolean {
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "integer") return Number.isInteger(value);
  if (type === "object") return typeof value === "object" && value !== null && !Array.isArray(value);
  return typeof value === type;
}
