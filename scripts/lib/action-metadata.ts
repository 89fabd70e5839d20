import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parse } from "yaml";
import { z } from "zod";

/** This repository's root folder. */
export const ROOT = resolve(import.meta.dirname, "../..");

const actionYml = z.object({
  inputs: z.record(z.string(), z.object({ default: z.coerce.string().optional() }).loose()).default({}),
  outputs: z.record(z.string(), z.unknown()).default({}),
  runs: z.object({ using: z.string(), main: z.string() }).loose(),
});

export interface ActionMetadata {
  /** The bundle that the runner starts. */
  readonly main: string;
  readonly using: string;
  /** Every input with its default, the empty string when it has none. */
  readonly defaults: Readonly<Record<string, string>>;
  readonly outputs: readonly string[];
}

/** Reads `actions/<name>/action.yml`. */
export async function readAction(name: string): Promise<ActionMetadata> {
  const folder = join(ROOT, "actions", name);
  const action = actionYml.parse(parse(await readFile(join(folder, "action.yml"), "utf8")));
  const defaults: Record<string, string> = {};
  for (const [input, { default: value = "" }] of Object.entries(action.inputs)) defaults[input] = value;
  return {
    main: join(folder, action.runs.main),
    using: action.runs.using,
    defaults,
    outputs: Object.keys(action.outputs),
  };
}
