import { readFileSync } from "node:fs";
import { parseRunbook, type Runbook } from "../../../src/runbook/load.ts";
import { RunbookError, type RunbookProblem } from "../../../src/runbook/problem.ts";

export const FILE = "runbook.yml";

/** Every key of a runbook at least once. */
export const FULL = readFileSync(new URL("full.yml", import.meta.url), "utf8");

/** The least that is a runbook, lines 1 to 9; what a test adds follows at line 10. */
export const SMALL = `version: 1
service: shop
stores:
  local: { type: file, path: /backups }
components:
  db:
    type: postgres
    store: local
    connection: \${DATABASE_URL}
`;

/** What is wrong with a text; fails when nothing is. */
export function problemsIn(text: string): readonly RunbookProblem[] {
  try {
    parseRunbook(text, FILE);
  } catch (error) {
    if (error instanceof RunbookError) return error.problems;
    throw error;
  }
  throw new Error("The runbook was accepted.");
}

export function runbookOf(text: string): Runbook {
  return parseRunbook(text, FILE);
}
