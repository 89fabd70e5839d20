import { createHash } from "node:crypto";

/** Which objects are read today: each has its day, by its name, so that no run needs to remember another. */
export function isChosen(
  share: { readonly part: number; readonly of: number } | undefined,
  name: string,
): boolean {
  if (share === undefined) return true;
  return createHash("sha256").update(name).digest().readUInt32BE(0) % share.of === share.part;
}
