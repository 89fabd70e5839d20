import { choice, flag, list, text } from "../../src/github/inputs.ts";

export const inputs = {
  runbook: text(".github/runbook.yml"),
  components: list(),
  kind: choice("full", "wal"),
  prune: flag(true),
};

export const outputs = [
  "backup-id",
  "backups-json",
  "bytes",
  "duration-seconds",
  "recoverable-until",
  "report-path",
] as const;
