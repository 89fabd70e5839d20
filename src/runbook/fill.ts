import { UserError } from "../errors.ts";
import { hasVariable, readTemplate } from "../template.ts";
import type { Runbook } from "./load.ts";
import { displayPath, type Path } from "./problem.ts";

type Env = Readonly<Record<string, string | undefined>>;

/**
 * Fills `${NAME}`, `${NAME:-default}` and `$$` of the value at `path`. An empty variable counts as unset, because that
 * is what a secret that does not exist looks like in a workflow. Throws a UserError that names variable, key and line.
 */
export function fillValue(runbook: Runbook, path: Path, text: string, env: Env): string {
  const location = runbook.locate(path);
  const where = `${displayPath(path)} (${location.file}:${location.line})`;
  const { parts, problem } = readTemplate(text);
  if (problem !== undefined) throw new UserError(`${where} ${problem}.`, { location });
  return parts
    .map((part) => {
      if (typeof part === "string") return part;
      const value = env[part.name] || part.fallback;
      if (value !== undefined) return value;
      throw new UserError(
        `${where} needs the environment variable ${part.name}, which is not set or empty: set it in the env of the workflow's step.`,
        { location },
      );
    })
    .join("");
}

/**
 * Fills every text of a map or list. A key whose variables leave nothing, such as `${S3_ENDPOINT:-}`, is left out, as
 * if it were not there.
 */
export function fillAll(runbook: Runbook, path: Path, value: unknown, env: Env): unknown {
  if (typeof value === "string") return fillValue(runbook, path, value, env);
  if (Array.isArray(value)) return value.map((item, index) => fillAll(runbook, [...path, index], item, env));
  if (typeof value !== "object" || value === null) return value;
  const filled = Object.entries(value).map(([key, child]) => [
    key,
    fillAll(runbook, [...path, key], child, env),
    child,
  ]);
  const present = filled.filter(([, text, written]) => !(text === "" && hasVariable(String(written))));
  return Object.fromEntries(present.map(([key, text]) => [key, text]));
}
