import { choice, duration, flag, list, text } from "../../src/github/inputs.ts";

export const inputs = {
  runbook: text(".github/runbook.yml"),
  components: list(),
  kind: choice("full", "wal"),
  "stream-for": duration("0s"),
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
