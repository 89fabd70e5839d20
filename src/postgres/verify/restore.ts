import { walPrefix } from "../../catalog/layout.ts";
import { AbortedError, DefectError, messageOf } from "../../errors.ts";
import type { CheckResult } from "../../record.ts";
import { recoverPostgres } from "../recovery/recover.ts";
import { NEW_BACKUP, type Subject } from "./subject.ts";

/** Recovers the newest backup to the newest point and looks through it; the id of a backup that came back whole. */
export async function tryRestore(subject: Subject): Promise<string | undefined> {
  const { setting, request, context, findings } = subject;
  try {
    const wanted = { target: { kind: "latest" }, backupId: undefined, now: request.now } as const;
    const recovered = await recoverPostgres(setting, wanted, context);
    try {
      const results = [...(await recovered.check()), ...((await recovered.inspect?.()) ?? [])];
      const before = findings.errors();
      for (const result of results) reportCheck(subject, recovered.backupId, result);
      return findings.errors() === before ? recovered.backupId : undefined;
    } finally {
      await recovered.dispose();
    }
  } catch (error) {
    if (context.signal.aborted || error instanceof AbortedError) throw error;
    if (error instanceof DefectError) {
      const isWal = error.subject.includes(walPrefix(setting.name));
      findings.error(isWal ? "wal-corrupt" : "backup-corrupt", error.subject, error.message, NEW_BACKUP);
    } else {
      const message = `${setting.name} could not be recovered on trial: ${messageOf(error)}`;
      findings.error("not-verified", setting.name, message, "Mend what the message says, and verify again.");
    }
    return undefined;
  }
}

function reportCheck(
  { findings }: Subject,
  backupId: string,
  { check, status, expected, actual }: CheckResult,
): void {
  if (status === "passed") return;
  if (status === "failed") {
    const message = `${check}: expected ${expected}, found ${actual} in what the backup ${backupId} recovers.`;
    findings.error(
      "backup-corrupt",
      backupId,
      message,
      "Look at the source first: what is wrong there comes back wrong.",
    );
  } else {
    const message = `${check} could not run: ${actual}`;
    findings.error("not-verified", backupId, message, "Mend what the message says, and verify again.");
  }
}
