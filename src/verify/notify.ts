import type { Context } from "../context.ts";
import { channelsOf } from "../notify/channels.ts";
import { type NotifyTuning, type NotifyWhen, notify } from "../notify/notify.ts";
import type { VerifyRun } from "./run.ts";

/** Tells the runbook's `notify` channels of a verification; a sentence for each that could not be told. */
export async function notifyVerification(
  { record, runbook, reasons }: VerifyRun,
  when: NotifyWhen,
  runUrl: string | null,
  context: Context,
  tuning?: NotifyTuning,
): Promise<readonly string[]> {
  if (when === "never") return [];
  const { service, verdict } = record;
  const remedies = record.findings.filter(({ severity }) => severity === "error").map(({ remedy }) => remedy);
  const notice = {
    service,
    ...{ subject: "verification", title: "verification of the backups", verdict, reasons, runUrl },
    headline: `${service}: the verification of the backups is ${verdict} (${record.findings.length} findings).`,
    nextSteps: [...new Set(remedies)],
    payload: record,
  };
  return (await notify(channelsOf(runbook, context.env), when, notice, context, tuning)).failures;
}
