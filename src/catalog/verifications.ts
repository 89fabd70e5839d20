import { z } from "zod";
import { DefectError } from "../errors.ts";
import { ObjectMissing, type Store } from "../stores/store.ts";
import { encodeDocument, readDocument } from "./documents.ts";
import { verificationId, verificationKey, verificationsPrefix } from "./layout.ts";

/**
 * `verified/<backup id>.json`: somebody read the whole backup and found it good. Created and never changed: retention
 * asks whether a backup was ever proven, not when last.
 */
const verification = z.object({
  schema: z.literal("drillbook/verification/v1"),
  component: z.string(),
  backupId: z.string(),
  /** `checksums`: every object was read and its digest compared. `restore`: it was recovered and looked at too. */
  depth: z.enum(["checksums", "restore"]),
  /** When that was proven; RFC 3339 in UTC. */
  at: z.string(),
});
export type Verification = z.infer<typeof verification>;

/**
 * Notes that a backup was verified. A note that exists already stays as it is. Throws a ToolError where the credentials
 * may not write; that takes nothing from what was proven, so a caller can make a warning of it.
 */
export async function recordVerification(
  store: Store,
  component: string,
  proven: Pick<Verification, "backupId" | "depth" | "at">,
  signal?: AbortSignal,
): Promise<void> {
  const { backupId, depth, at } = proven;
  const note: Verification = { schema: "drillbook/verification/v1", component, backupId, depth, at };
  await store.create(verificationKey(component, backupId), encodeDocument(note), signal);
}

/**
 * Which backups of a component were verified, by their ids; also of backups that are gone by now. A note that cannot be
 * read, or that speaks of another backup, proves nothing and is left out.
 */
export async function readVerifications(
  store: Store,
  component: string,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, Verification>> {
  const found = new Map<string, Verification>();
  for await (const { key } of store.list(verificationsPrefix(component), signal)) {
    const id = verificationId(component, key);
    const note = id === undefined ? undefined : await readNote(store, key, signal);
    if (note?.component === component && note.backupId === id) found.set(id, note);
  }
  return found;
}

async function readNote(
  store: Store,
  key: string,
  signal: AbortSignal | undefined,
): Promise<Verification | undefined> {
  try {
    return await readDocument(store, key, verification, signal);
  } catch (error) {
    // Retention takes a note away with its backup.
    if (error instanceof ObjectMissing || error instanceof DefectError) return undefined;
    throw error;
  }
}
