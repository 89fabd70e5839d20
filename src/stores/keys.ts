import { ToolError, UserError } from "../errors.ts";

const MAX_KEY_BYTES = 1024;

/**
 * The names of files that are not whole yet. No key may look like this, and listings skip them; a run
 * that was killed leaves them, and {@link Store.removeUnfinished} removes them.
 */
export const UNFINISHED = /^\.drillbook-[0-9a-z-]+\.partial$/;

/**
 * Refuses a key that a store could understand differently from how it reads: a path that climbs out of the store
 * (`../x`), an absolute one, an empty part, a control character. Keys can come from a manifest, thus from outside.
 */
export function checkKey(key: string): void {
  const parts = key.split("/");
  const odd = parts.some((part) => part === "" || part === "." || part === ".." || UNFINISHED.test(part));
  if (odd || /[\x00-\x1f\x7f\\]/.test(key) || Buffer.byteLength(key) > MAX_KEY_BYTES) {
    throw new ToolError(
      `${JSON.stringify(key.slice(0, 100))} can not be the key of an object: it must be a path below the store, without "..", "." or empty parts.`,
    );
  }
}

/** Refuses a prefix to list that leads out of the store. It may end in the middle of a name: only whole parts count. */
export function checkPrefix(prefix: string): string {
  const folder = prefix.slice(0, Math.max(prefix.lastIndexOf("/"), 0));
  if (folder !== "" || prefix.startsWith("/")) checkKey(folder);
  return prefix;
}

/** The prefix of a store with its closing slash, or "" for none. Throws a UserError for one that is no path. */
export function prefixOf(prefix: string | undefined, storeName: string): string {
  const trimmed = (prefix ?? "").replace(/^\/+|\/+$/g, "");
  if (trimmed === "") return "";
  try {
    checkKey(trimmed);
  } catch (cause) {
    throw new UserError(
      `The prefix "${trimmed}" of the store "${storeName}" is not a path: write one such as "shop/production".`,
      { cause },
    );
  }
  return `${trimmed}/`;
}

/** The order in which S3 lists keys: by their UTF-8 bytes. */
export function compareKeys(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
