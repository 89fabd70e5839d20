/**
 * Writes what is made from other files: the JSON Schemas from the zod schemas, and the tables of inputs and outputs
 * in each action's README from its action.yml. With `--check` it writes nothing and fails when one is out of date.
 */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { parse } from "yaml";
import { drillRecordJsonSchema, runbookJsonSchema } from "../src/runbook/json-schema.ts";

const root = join(import.meta.dirname, "..");
const START = "<!-- generated from action.yml: start -->";
const END = "<!-- generated from action.yml: end -->";

interface ActionMetadata {
  readonly inputs?: Readonly<Record<string, { description: string; default?: string }>>;
  readonly outputs?: Readonly<Record<string, { description: string }>>;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}

function tables(metadata: ActionMetadata): string {
  const inputs = Object.entries(metadata.inputs ?? {}).map(
    ([name, { description, default: value }]) =>
      `| \`${name}\` | ${value ? `\`${cell(value)}\`` : ""} | ${cell(description)} |`,
  );
  const outputs = Object.entries(metadata.outputs ?? {}).map(
    ([name, { description }]) => `| \`${name}\` | ${cell(description)} |`,
  );
  return [
    "## Inputs",
    "",
    "| Input | Default | What it does |",
    "| --- | --- | --- |",
    ...inputs,
    "",
    "## Outputs",
    "",
    "| Output | What it holds |",
    "| --- | --- |",
    ...outputs,
  ].join("\n");
}

async function readmeOf(action: string): Promise<[string, string]> {
  const folder = join(root, "actions", action);
  const metadata = parse(await readFile(join(folder, "action.yml"), "utf8")) as ActionMetadata;
  const path = join(folder, "README.md");
  const readme = await readFile(path, "utf8");
  const [before, rest] = readme.split(START);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined) throw new Error(`${path} has no generated part`);
  return [path, `${before}${START}\n\n${tables(metadata)}\n\n${END}${after}`];
}

const files = new Map<string, string>([
  [join(root, "schema/runbook.schema.json"), `${JSON.stringify(runbookJsonSchema(), null, 2)}\n`],
  [join(root, "schema/drill-record.schema.json"), `${JSON.stringify(drillRecordJsonSchema(), null, 2)}\n`],
]);
for (const action of await readdir(join(root, "actions"))) {
  files.set(...(await readmeOf(action)));
}

const stale: string[] = [];
for (const [path, content] of files) {
  if ((await readFile(path, "utf8").catch(() => "")) === content) continue;
  stale.push(relative(root, path));
  if (!process.argv.includes("--check")) await writeFile(path, content);
}
if (process.argv.includes("--check") && stale.length > 0) {
  console.error(`Out of date, run npm run generate: ${stale.join(", ")}`);
  process.exitCode = 1;
}
