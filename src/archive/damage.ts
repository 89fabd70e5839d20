import { DefectError } from "../errors.ts";

/**
 * How an archive's bytes were found to be wrong: `truncated` (the end is absent), `altered` (bytes were changed, added
 * or moved), `wrong-key` (sealed for another identity), `foreign` (not in the format it should have).
 */
export type DamageKind = "truncated" | "altered" | "wrong-key" | "foreign";

/** A {@link DefectError} of an archive that also says how it is damaged. */
export class DamagedArchive extends DefectError {
  readonly kind: DamageKind;

  /** `what` follows the subject in the message: "is truncated: …". */
  constructor(subject: string, kind: DamageKind, what: string) {
    super(subject, `${subject} ${what}`);
    this.name = "DamagedArchive";
    this.kind = kind;
  }
}
