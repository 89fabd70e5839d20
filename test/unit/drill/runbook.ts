import { parseRunbook, type Runbook } from "../../../src/runbook/load.ts";

/** A runbook of the given components, scenarios and the like; service and store are there already. */
export function runbookOf(yaml: string, storePath = "/nonexistent"): Runbook {
  const head = `version: 1\nservice: shop\nstores:\n  local: { type: file, path: ${JSON.stringify(storePath)} }\n`;
  return parseRunbook(head + yaml.replace(/^\n/, ""), "runbook.yml");
}
