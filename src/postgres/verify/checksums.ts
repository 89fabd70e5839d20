import { messageOf, UserError } from "../../errors.ts";
import { startProgress } from "../../progress.ts";
import type { VerifiedBackup } from "./backups.ts";
import { readPart } from "./parts.ts";
import type { Reader } from "./reader.ts";
import { readWal } from "./segments.ts";
import { isChosen } from "./share.ts";
import type { Subject } from "./subject.ts";

/** What was read to its end and compared. */
export interface Read {
  readonly objects: number;
  readonly bytes: number;
  /** Ids of backups all of whose parts were read now and are sound. */
  readonly sound: ReadonlySet<string>;
}

/** Reads the parts of the backups and all WAL, or today's share of them, and compares every byte with what was recorded. */
export async function readEverything(
  subject: Subject,
  backups: readonly VerifiedBackup[],
  heldBytes: number,
): Promise<Read> {
  const { context, request, findings } = subject;
  let objects = 0;
  let bytes = 0;
  const expected = request.share === undefined ? heldBytes : heldBytes / request.share.of;
  const progress = startProgress(context, `Reading the objects of ${subject.setting.name}`, expected);
  const reader: Reader = {
    ...subject,
    identity: identityOf(subject),
    count(more) {
      objects += 1;
      bytes += more;
      progress.add(more);
    },
  };
  const sound = new Set<string>();
  for (const backup of backups) {
    if (!backup.whole) continue;
    const before = findings.errors();
    let all = true;
    for (const object of backup.manifest.objects) {
      const chosen = isChosen(request.share, `${backup.manifest.id}/${object.name}`);
      if (chosen) await readPart(reader, backup, object);
      all &&= chosen;
    }
    if (all && findings.errors() === before) sound.add(backup.manifest.id);
  }
  await readWal(reader, backups.at(-1));
  progress.done();
  return { objects, bytes, sound };
}

/** Undefined: no variable is set for it, or it is unusable. What is sealed cannot be read then. */
function identityOf({ setting, findings }: Subject): string | undefined {
  if (setting.encryption.recipients.length === 0) return undefined;
  const how = "Set the variable of encryption.identity for this step.";
  try {
    const identity = setting.encryption.identity();
    if (identity !== undefined) return identity;
    findings.error(
      "not-verified",
      setting.name,
      `The store of ${setting.name} has no identity, so no sealed object could be read.`,
      how,
    );
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    const message = `No sealed object of ${setting.name} could be read: ${messageOf(error)}`;
    findings.error("not-verified", setting.name, message, how);
  }
  return undefined;
}
