import { z } from "zod";
import { DefectError, ToolError } from "../errors.ts";
import { sleep } from "../stores/signals.ts";
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

/** A listing that shows what is not there any more is asked again so often. */
const READINGS = 50;
const AGAIN_MS = 100;

/**
 * The lease object with the highest number, and the keys of all others; undefined when there is none. `known` is a number
 * that was there a moment ago: a listing may not show the newest yet, so what follows it is looked for by its name.
 */
export async function readLease(
  store: Store,
  component: string,
  signal: AbortSignal,
  known = 0,
): Promise<{ readonly newest: LeaseObject; readonly older: readonly string[] } | undefined> {
  for (let reading = 1; ; reading += 1) {
    const listed: { readonly number: number; readonly key: string }[] = [];
    for await (const { key } of store.list(leasePrefix(component), signal)) {
      const number = leaseNumber(component, key);
      if (number !== undefined) listed.push({ number, key });
    }
    let number = Math.max(known, listed.at(-1)?.number ?? 0);
    while ((await store.stat(leaseKey(component, number + 1), signal)) !== undefined) number += 1;
    if (number === 0) return undefined;
    const older = listed.filter((one) => one.number < number).map(({ key }) => key);
    const found = await store.stat(leaseKey(component, number), signal);
    try {
      if (found === undefined) throw new ObjectMissing(store.describe(leaseKey(component, number)));
      const document = await readLeaseDocument(store, found.key, signal);
      return { newest: { number, modified: found.modified, document }, older };
    } catch (error) {
      // Its holder has renewed it since it was listed.
      if (!(error instanceof ObjectMissing)) throw error;
      if (reading === READINGS) {
        throw new ToolError(
          `${store.describe(leasePrefix(component))} does not say who writes there: the store's list does not show what lies in it. Try again later.`,
        );
      }
    }
    await sleep(AGAIN_MS, signal);
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
