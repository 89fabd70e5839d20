import { DamagedArchive } from "../../archive/damage.ts";
import { AbortedError, DefectError, messageOf } from "../../errors.ts";
import type { FindingCode } from "../../finding.ts";
import { ObjectMissing } from "../../stores/store.ts";
import { NEW_BACKUP, type Subject } from "./subject.ts";

/** What reads objects to their end has at hand. */
export interface Reader extends Subject {
  /** Undefined: what is sealed cannot be read. */
  readonly identity: string | undefined;
  /** Counts an object of so many bytes as read. */
  count(bytes: number): void;
}

const OTHER_KEY =
  "Give the identity that the objects were sealed for, or take a new backup for the present recipients.";

/** Turns what is wrong with an object into a finding. An object that retention removed meanwhile is none. */
export async function guarded(
  { context, findings }: Subject,
  subject: string,
  code: FindingCode,
  work: () => Promise<void>,
  companion?: string,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (context.signal.aborted || error instanceof AbortedError) throw error;
    if (error instanceof ObjectMissing) {
      // Without its sidecar a segment does not count, which is a gap where it is needed.
      if (error.subject === companion) return;
      findings.error(
        "not-verified",
        subject,
        `${subject} was listed, but is not there any more.`,
        "Verify again.",
      );
    } else if (error instanceof DamagedArchive && error.kind === "wrong-key") {
      findings.error("key-mismatch", error.subject, error.message, OTHER_KEY);
    } else if (error instanceof DefectError) {
      findings.error(code, error.subject, error.message, NEW_BACKUP);
    } else {
      const message = `${subject} could not be read: ${messageOf(error)}`;
      findings.error(
        "not-verified",
        subject,
        message,
        "Look at the store and the network, and verify again.",
      );
    }
  }
}
