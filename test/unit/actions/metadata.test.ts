import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import type { InputReaders } from "../../../src/github/inputs.ts";

const root = join(import.meta.dirname, "../../..");
const actions = readdirSync(join(root, "actions"));

interface Metadata {
  readonly name: string;
  readonly description: string;
  readonly inputs: Readonly<Record<string, { description: string; default: string }>>;
  readonly outputs: Readonly<Record<string, { description: string }>>;
  readonly runs: { readonly using: string; readonly main: string };
}

function metadataOf(action: string): Metadata {
  return parse(readFileSync(join(root, "actions", action, "action.yml"), "utf8")) as Metadata;
}

async function contractOf(action: string): Promise<{ inputs: InputReaders; outputs: readonly string[] }> {
  return (await import(`../../../actions/${action}/contract.ts`)) as {
    inputs: InputReaders;
    outputs: readonly string[];
  };
}

describe.each(actions)("the action %s", (action) => {
  const metadata = metadataOf(action);

  test("reads the inputs that its action.yml declares, with the same defaults", async () => {
    const { inputs } = await contractOf(action);

    const inCode = Object.fromEntries(Object.entries(inputs).map(([name, { fallback }]) => [name, fallback]));
    const inYaml = Object.fromEntries(
      Object.entries(metadata.inputs).map(([name, input]) => [name, input.default]),
    );

    expect(inCode).toEqual(inYaml);
  });

  test("publishes the outputs that its action.yml declares", async () => {
    const { outputs } = await contractOf(action);

    expect([...outputs]).toEqual(Object.keys(metadata.outputs));
  });

  test("runs its own bundle on Node 24", () => {
    expect(metadata.runs).toEqual({ using: "node24", main: `../../dist/${action}/index.js` });
  });
});
