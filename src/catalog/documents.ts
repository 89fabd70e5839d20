import type { z } from "zod";
import { DefectError } from "../errors.ts";
import { readAll, type Store } from "../stores/store.ts";

/**
 * Reads a small JSON object of the catalog. Throws {@link ObjectMissing} when it is not there and a
 * {@link DefectError} that names it when it is not what its schema says.
 */
export async function readDocument<T>(
  store: Store,
  key: string,
  schema: z.ZodType<T>,
  signal?: AbortSignal,
): Promise<T> {
  const text = (await readAll(await store.get(key, { signal }))).toString("utf8");
  const subject = store.describe(key);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new DefectError(subject, `${subject} is not JSON: it is damaged or was not written by Drillbook.`, {
      cause,
    });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = issue === undefined || issue.path.length === 0 ? "its content" : issue.path.join(".");
  throw new DefectError(
    subject,
    `${subject} cannot be understood: ${where}: ${issue?.message ?? "unreadable"}.`,
  );
}

/** The bytes of a JSON object of the catalog: indented, because people read it too. */
export function encodeDocument(value: unknown): Buffer {
  return Buffer.from(`${JSON.stringify(value, null, 2)}\n`, "utf8");
}
