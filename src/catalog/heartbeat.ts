import { z } from "zod";
import { DefectError } from "../errors.ts";
import { ObjectMissing, type Store } from "../stores/store.ts";
import { encodeDocument, readDocument } from "./documents.ts";
import { heartbeatKey } from "./layout.ts";

/**
 * `heartbeat.json`: the last thing that a successful run writes; a run that streams writes one at each of its points.
 * Everything it names was in the store before it. Times are RFC 3339 in UTC.
 */
const heartbeat = z.object({
  schema: z.literal("drillbook/heartbeat/v1"),
  component: z.string(),
  kind: z.enum(["full", "wal"]),
  finishedAt: z.string(),
  /** The newest backup that this run made; null for `wal`. */
  backupId: z.string().nullable(),
  /** The newest backup of all when the run ended: its loss is seen by this, and a listing that lags behind is too. */
  newestBackup: z.string().nullish(),
  /** The last whole segment of the archive; null when there is none, and for components without WAL. */
  lastSegment: z.string().nullable(),
  /** The segment behind it, of which so many bytes were archived at least. */
  partial: z.object({ segment: z.string(), bytes: z.number() }).nullish(),
  /** The newest moment that `latest` reaches; null when the archive ends in no named point. */
  recoverableUntil: z.string().nullable(),
});
export type Heartbeat = z.infer<typeof heartbeat>;

export async function writeHeartbeat(
  store: Store,
  beat: Omit<Heartbeat, "schema">,
  signal?: AbortSignal,
): Promise<void> {
  const bytes = encodeDocument({ schema: "drillbook/heartbeat/v1", ...beat });
  await store.put(heartbeatKey(beat.component), once(bytes), { signal, expectedBytes: bytes.length });
}

/** As {@link readHeartbeat}, for those who only take a hint from it: undefined when it is damaged too. */
export async function glanceAtHeartbeat(
  store: Store,
  component: string,
  signal?: AbortSignal,
): Promise<Heartbeat | undefined> {
  try {
    return await readHeartbeat(store, component, signal);
  } catch (error) {
    if (error instanceof DefectError) return undefined;
    throw error;
  }
}

/** The last heartbeat of a component; undefined when no run ever succeeded. */
export async function readHeartbeat(
  store: Store,
  component: string,
  signal?: AbortSignal,
): Promise<Heartbeat | undefined> {
  try {
    return await readDocument(store, heartbeatKey(component), heartbeat, signal);
  } catch (error) {
    if (error instanceof ObjectMissing) return undefined;
    throw error;
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
