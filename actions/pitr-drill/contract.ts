import { flag, list, optionalInteger, optionalText, text } from "../../src/github/inputs.ts";

export const inputs = {
  runbook: text(".github/runbook.yml"),
  scenario: optionalText(),
  components: list(),
  environment: text("drill"),
  target: text("latest"),
  backup: text("existing"),
  keep: flag(false),
  "report-dir": text("drill-reports"),
  "artifact-name": text("drill-report"),
  "retention-days": optionalInteger(1, 400),
};

export const outputs = [
  "verdict",
  "rto-seconds",
  "rpo-seconds",
  "drill-id",
  "record-path",
  "report-path",
  "artifact-id",
] as const;
