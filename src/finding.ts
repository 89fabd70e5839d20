/** What is wrong, or may become so. */
export const FINDING_CODES = [
  "no-backup",
  "backup-stale",
  "backup-incomplete",
  "backup-corrupt",
  "wal-gap",
  "wal-corrupt",
  "wal-stale",
  "timeline-fork",
  "foreign-system",
  "key-mismatch",
  "size-anomaly",
  "retention-overdue",
  "slot-at-risk",
  "drill-overdue",
  "not-verified",
] as const;
export type FindingCode = (typeof FINDING_CODES)[number];

/** Something to mend, in the words that all of Drillbook's findings have. */
export interface Finding {
  readonly code: FindingCode;
  /** `error`: the service could not be recovered as promised, or nobody knows. */
  readonly severity: "error" | "warning";
  /** The component; with a comma between several. Empty for the service as a whole. */
  readonly component: string;
  /** What it is about: an object of the store, a backup, a scenario. */
  readonly subject: string;
  /** One sentence. */
  readonly message: string;
  /** What to do, one sentence. */
  readonly remedy: string;
}
