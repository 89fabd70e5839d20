import { z } from "zod";
import { FINDING_CODES } from "../finding.ts";

/** The verification record, `<report-dir>/verify-<id>.json`. Times are RFC 3339 in UTC; a figure that is not known is null. */
export const verifyRecord = z.object({
  schema: z.literal("drillbook/verify-record/v1"),
  id: z.string(),
  service: z.string(),
  depth: z.enum(["inventory", "checksums", "restore"]),
  verdict: z.enum(["passed", "failed", "unverified"]),
  startedAt: z.string(),
  finishedAt: z.string(),
  /** The RPO at this moment: the most data that any component would lose now. */
  rpoSeconds: z.number().nullable(),
  findings: z.array(
    z.object({
      code: z.enum(FINDING_CODES),
      severity: z.enum(["error", "warning"]),
      component: z.string(),
      subject: z.string(),
      message: z.string(),
      remedy: z.string(),
    }),
  ),
  components: z.array(
    z.object({
      component: z.string(),
      window: z.object({ from: z.string(), to: z.string() }).nullable(),
      rpoSeconds: z.number().nullable(),
      backups: z.number(),
      newestBackup: z.string().nullable(),
      heartbeat: z.string().nullable(),
      held: z.object({ objects: z.number(), bytes: z.number() }),
      read: z.object({ objects: z.number(), bytes: z.number() }),
      verified: z.array(z.string()),
      unchecked: z.array(z.string()),
      seconds: z.number(),
    }),
  ),
});
export type VerifyRecord = z.infer<typeof verifyRecord>;
export type VerifiedComponent = VerifyRecord["components"][number];
