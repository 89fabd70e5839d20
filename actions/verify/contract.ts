import { choice, list, text } from "../../src/github/inputs.ts";

export const inputs = {
  runbook: text(".github/runbook.yml"),
  components: list(),
  depth: choice("checksums", "inventory", "restore"),
  "cover-within": text(""),
  "report-dir": text("verify-reports"),
  notify: choice("on-failure", "always", "never"),
};

export const outputs = ["verdict", "findings-json", "rpo-seconds", "report-path", "record-path"] as const;
