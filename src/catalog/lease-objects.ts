import { z } from "zod";
import { DefectError } from "../errors.ts";
import { ObjectMissing, type Store } from "../stores/store.ts";
import { encodeDocument, readDocument } from "./documents.ts";
import { leaseKey, leaseNumber, leasePrefix } from "./layout.ts";

/**
 * `lease/<number>.json`: the one with the highest number says which run writes into the component's place. Each is created
 * and never changed, and the highest is never deleted, so a number is never given twice. Times are RFC 3339 in UTC.
 */
const leaseDocument = z.object({
  schema: z.literal("drillbook/lease/v1"),
  /** Different for each run. */
  token: z.string(),
  /** For people: the URL of the run, or machine and process. */
  holder: z.string(),
  kind: z.enum(["full", "wal", "prune"]),
  startedAt: z.string(),
  /** The holder's clock. */
  expiresAt: z.string(),
  /** The run has ended. */
  released: z.boolean(),
});
export type LeaseDocument = z.infer<typeof leaseDocument>;

/** A lease object as it lies in the store. */
export interface LeaseObject {
  readonly number: number;
  /** Undefined when it cannot be read: whoever wrote it, nobody can tell whether he lives. */
  readonly document: LeaseDocument | undefined;
  /** The store's clock. */
  readonly modified: Date;
}

/** The lease object with the highest number, and the keys of all others; undefined when there is none. */
export async function readLease(
  store: Store,
  component: string,
  signal: AbortSignal,
): Promise<{ readonly newest: LeaseObject; readonly older: readonly string[] } | undefined> {
  for (;;) {
    const keys: string[] = [];
    let last: { readonly number: number; readonly key: string; readonly modified: Date } | undefined;
    for await (const { key, modified } of store.list(leasePrefix(component), signal)) {
      const number = leaseNumber(component, key);
      if (number === undefined) continue;
      if (last !== undefined) keys.push(last.key);
      last = { number, key, modified };
    }
    if (last === undefined) return undefined;
    try {
      const document = await readLeaseDocument(store, last.key, signal);
      return { newest: { number: last.number, modified: last.modified, document }, older: keys };
    } catch (error) {
      // The holder has renewed it since it was listed.
      if (!(error instanceof ObjectMissing)) throw error;
    }
  }
}

async function readLeaseDocument(
  store: Store,
  key: string,
  signal: AbortSignal,
): Promise<LeaseDocument | undefined> {
  try {
    return await readDocument(store, key, leaseDocument, signal);
  } catch (error) {
    if (error instanceof DefectError) return undefined;
    throw error;
  }
}

/** Creates the object of a number; false when somebody else was quicker. */
export async function createLease(
  store: Store,
  component: string,
  number: number,
  document: Omit<LeaseDocument, "schema">,
  signal: AbortSignal,
): Promise<boolean> {
  const bytes = encodeDocument({ schema: "drillbook/lease/v1", ...document });
  return await store.create(leaseKey(component, number), bytes, signal);
}
