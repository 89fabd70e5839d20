import { DefectError } from "../errors.ts";
import { drillRecord } from "../record.ts";
import { ObjectMissing, type Store } from "../stores/store.ts";
import { readDocument } from "./documents.ts";
import { drillId, drillKey, drillsPrefix } from "./layout.ts";
import type { BackupManifest } from "./manifest.ts";
import type { Proof } from "./retention.ts";
import { readVerifications } from "./verifications.ts";

/** So many of the newest drill records are looked at: a store may hold years of them. */
const MOST_RECORDS = 200;

/**
 * The newest of these backups that was verified as a whole, or that a passed drill recovered; undefined when none was.
 * `backups` are in order of time. No more drill records are read than are needed to prove a backup that is newer than
 * `candidate`, the newest of those that may go. A record or a note that cannot be read proves nothing.
 */
export async function newestProof(
  store: Store,
  component: string,
  backups: readonly BackupManifest[],
  candidate: BackupManifest,
  signal?: AbortSignal,
): Promise<Proof | undefined> {
  const order = new Map(backups.map((backup, index) => [backup.id, index]));
  let best: Proof | undefined;

  function rank(id: string | undefined): number {
    return (id === undefined ? undefined : order.get(id)) ?? -1;
  }
  function take(proof: Proof): void {
    if (rank(proof.backupId) > rank(best?.backupId)) best = proof;
  }
  const enough = () => rank(best?.backupId) > rank(candidate.id);

  for (const { backupId, depth, at } of (await readVerifications(store, component, signal)).values()) {
    take({ backupId, how: `verified on ${at.slice(0, 10)} (${depth})` });
  }
  if (enough()) return best;
  for (const id of await newestDrills(store, candidate.id, signal)) {
    for (const backupId of await recoveredBy(store, component, id, signal)) {
      take({ backupId, how: `recovered by the passed drill ${id}` });
    }
    if (enough()) break;
  }
  return best;
}

/** Ids sort by time, and a drill from before a backup cannot have recovered it. */
async function newestDrills(store: Store, after: string, signal: AbortSignal | undefined): Promise<string[]> {
  const ids: string[] = [];
  for await (const { key } of store.list(drillsPrefix(), signal)) {
    const id = drillId(key);
    if (id === undefined || id < after) continue;
    ids.push(id);
    if (ids.length > MOST_RECORDS) ids.shift();
  }
  return ids.reverse();
}

/** The backups of the component that a drill recovered, when it passed. */
async function recoveredBy(
  store: Store,
  component: string,
  id: string,
  signal: AbortSignal | undefined,
): Promise<string[]> {
  try {
    const record = await readDocument(store, drillKey(id), drillRecord, signal);
    if (record.verdict !== "passed") return [];
    return record.recoveries.filter((one) => one.component === component).map((one) => one.backupId);
  } catch (error) {
    if (error instanceof ObjectMissing || error instanceof DefectError) return [];
    throw error;
  }
}
