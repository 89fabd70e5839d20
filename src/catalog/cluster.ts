import { z } from "zod";
import { DefectError } from "../errors.ts";
import { ObjectMissing, type Store } from "../stores/store.ts";
import { encodeDocument, readDocument } from "./documents.ts";
import { clusterKey } from "./layout.ts";

const clusterIdentity = z.object({
  schema: z.literal("drillbook/cluster/v1"),
  /** What initdb gave the cluster; the same on its standbys, different on every other cluster. */
  systemIdentifier: z.string(),
});

/**
 * Ties a component's place in the store to one cluster: the first run writes the system identifier, every later run
 * must have the same. Throws a {@link DefectError} when the place belongs to another cluster; nothing is written then.
 */
export async function claimCluster(
  store: Store,
  component: string,
  systemIdentifier: string,
  signal?: AbortSignal,
): Promise<void> {
  const known = await readClusterIdentity(store, component, signal);
  if (known === systemIdentifier) return;
  const document = encodeDocument({ schema: "drillbook/cluster/v1", systemIdentifier });
  if (known === undefined && (await store.create(clusterKey(component), document, signal))) return;
  const owner = known ?? (await readClusterIdentity(store, component, signal));
  if (owner === systemIdentifier) return;
  const subject = store.describe(clusterKey(component));
  throw new DefectError(
    subject,
    `${subject} says that "${component}" holds the cluster with system identifier ${owner}, but this server is ${systemIdentifier}: give the new cluster another component name or another prefix.`,
  );
}

/** The system identifier of the cluster that a component holds; undefined when nothing was ever written. */
export async function readClusterIdentity(
  store: Store,
  component: string,
  signal?: AbortSignal,
): Promise<string | undefined> {
  try {
    return (await readDocument(store, clusterKey(component), clusterIdentity, signal)).systemIdentifier;
  } catch (error) {
    if (error instanceof ObjectMissing) return undefined;
    throw error;
  }
}
