import { choice, duration, flagOr, list, text } from "../../src/github/inputs.ts";

export const inputs = {
  runbook: text(".github/runbook.yml"),
  components: list(),
  kind: choice("full", "wal"),
  "stream-for": duration("0s"),
  "wait-for": duration("10m"),
  prune: flagOr(true, "dry-run"),
};

export const outputs = [
  "backup-id",
  "backups-json",
  "bytes",
  "duration-seconds",
  "recoverable-until",
  "report-path",
] as const;
