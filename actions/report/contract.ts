import { choice, flag, integer, list, optionalInteger, text } from "../../src/github/inputs.ts";

export const inputs = {
  runbook: text(".github/runbook.yml"),
  records: list("drill-reports/*.json"),
  history: integer(12, 1, 1000),
  gate: flag(false),
  "artifact-name": text("drill-history"),
  "retention-days": optionalInteger(1, 400),
  notify: choice("on-failure", "always", "never"),
};

export const outputs = ["verdict", "report-path", "artifact-id"] as const;
