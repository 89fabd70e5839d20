import { chmod, chown, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runBackups } from "../../src/backup/run.ts";
import { listBackupIds } from "../../src/catalog/backups.ts";
import { readHeartbeat } from "../../src/catalog/heartbeat.ts";
import type { Context } from "../../src/context.ts";
import { AbortedError } from "../../src/errors.ts";
import { openFileStore } from "../../src/stores/file.ts";
import { startS3 } from "../../test/support/s3.ts";
import { startPostgres, type TestPostgres } from "../lib/postgres.ts";
import { availableMajors } from "../lib/postgres-binaries.ts";
import { failOver, SMALL_SEGMENTS } from "./healthy-store.ts";
import { fill, makePlace, type Place, sell } from "./source.ts";

/** A store that nobody broke: each finding in it is a false alarm. */
export interface Variant {
  readonly name: string;
  readonly sentence: string;
  /** Makes the store; what it starts is given to the stack. */
  make(ground: VariantGround): Promise<Place>;
}

/** What variants share. */
interface VariantGround {
  /** A server in use, for variants that need none of their own. */
  readonly server: TestPostgres;
  readonly context: Context;
  readonly stack: AsyncDisposableStack;
}

/** The usual life of a store: a backup, WAL behind it, a passed drill. */
async function live(place: Place, server: TestPostgres): Promise<Place> {
  await place.backup();
  await sell(server);
  await place.backup("wal");
  await place.drill();
  return place;
}

async function started(
  { stack }: VariantGround,
  options: Parameters<typeof startPostgres>[0],
): Promise<TestPostgres> {
  const server = stack.use(await startPostgres(options));
  await fill(server);
  return server;
}

/** Every major that is installed has a variant of its own; 18 and 14 at least. */
const MAJORS = availableMajors().filter((major) => major !== availableMajors().at(-1));

const OTHER_MAJORS: readonly Variant[] = [MAJORS[0], MAJORS.at(-1)]
  .filter((major) => major !== undefined)
  .map((major) => ({
    name: `PostgreSQL ${major}`,
    sentence: `The server is a PostgreSQL ${major} with segments of 16 MB`,
    async make(ground) {
      const server = await started(ground, { major });
      return await live(await makePlace(`pg${major}`, { servers: { db: server } }, ground.context), server);
    },
  }));

export const HEALTHY: readonly Variant[] = [
  {
    name: "unencrypted",
    sentence: "The store is not encrypted",
    make: async ({ server, context }) =>
      await live(await makePlace("plain", { servers: { db: server }, sealed: false }, context), server),
  },
  {
    name: "in S3",
    sentence: "The store is a bucket of an S3 server",
    async make({ server, context, stack }) {
      const s3 = await startS3();
      stack.defer(() => s3.close());
      const store = { type: "s3", bucket: s3.bucket, prefix: "shop", endpoint: s3.endpoint };
      const place = await makePlace("s3", { servers: { db: server }, store, env: s3.env }, context);
      return await live(place, server);
    },
  },
  {
    name: "one backup alone",
    sentence: "There is one backup, and no run since",
    async make({ server, context }) {
      const place = await makePlace("single", { servers: { db: server } }, context);
      await place.backup();
      await place.drill();
      return place;
    },
  },
  {
    name: "after retention",
    sentence: "Retention has removed the older backups and their WAL",
    async make({ server, context }) {
      const config = { retention: { keep: "1s", minimum: 1 } };
      const place = await makePlace("pruned", { servers: { db: server }, config }, context);
      await place.backup();
      await sell(server, 2);
      await place.backup();
      await place.drill();
      await sleep(1_100);
      const before = await backupsIn(place);
      await place.backup("full", { prune: true });
      await place.drill();
      if ((await backupsIn(place)) > before) throw new Error("Retention removed no backup.");
      return place;
    },
  },
  {
    name: "idle",
    sentence: "Nothing was committed since the backup",
    async make(ground) {
      const server = await started(ground, { initdbArgs: SMALL_SEGMENTS });
      const place = await makePlace("idle", { servers: { db: server } }, ground.context);
      await place.backup();
      await place.backup("wal");
      await place.backup("wal");
      await place.drill();
      return place;
    },
  },
  {
    name: "a partial at the end",
    sentence: "A stream was broken off: the newest WAL is a partial",
    async make({ server, context }) {
      const config = { freshness: { backup: "26h", wal: "1h" } };
      const place = await makePlace("partial", { servers: { db: server }, config }, context);
      await place.backup();
      await sell(server, 4);
      await breakOffStream(place);
      await place.drill();
      return place;
    },
  },
  {
    name: "WAL from an archive folder",
    sentence: "archive_command fills a folder, and there is no slot",
    async make(ground) {
      const archive = join(ground.context.workDir, "archive");
      await mkdir(archive);
      const settings = { archive_mode: "on", archive_command: `cp %p "${archive}/%f"` };
      const server = await started(ground, { initdbArgs: SMALL_SEGMENTS, settings });
      if (server.user !== undefined) await chown(archive, server.user.uid, server.user.gid);
      await chmod(archive, 0o755);
      const config = { wal: { archive } };
      return await live(
        await makePlace("folder", { servers: { db: server }, config }, ground.context),
        server,
      );
    },
  },
  {
    name: "two promotions",
    sentence: "The server was promoted twice between two backups",
    async make(ground) {
      const server = await started(ground, { initdbArgs: SMALL_SEGMENTS });
      const place = await makePlace("promoted", { servers: { db: server } }, ground.context);
      await place.backup();
      for (let round = 0; round < 2; round += 1) {
        await sell(server);
        await failOver(server);
        await place.backup("wal");
      }
      return await live(place, server);
    },
  },
  {
    name: "segments of 64 MB",
    sentence: "The cluster has segments of 64 MB and no data checksums",
    async make(ground) {
      const major = availableMajors().at(-1) ?? 0;
      const initdbArgs = ["--wal-segsize=64", ...(major >= 18 ? ["--no-data-checksums"] : [])];
      const server = await started(ground, { initdbArgs, settings: { max_wal_size: "1GB" } });
      return await live(await makePlace("large", { servers: { db: server } }, ground.context), server);
    },
  },
  ...OTHER_MAJORS,
];

async function backupsIn({ component, storeDir, context }: Place): Promise<number> {
  const store = openFileStore({ type: "file", path: storeDir }, "offsite", context);
  return (await listBackupIds(store, component, context.signal)).length;
}

/** Streams WAL until some of an unfinished segment is in the store, and stops there. */
async function breakOffStream({ runbookFile, context, storeDir }: Place): Promise<void> {
  const stop = new AbortController();
  const signal = AbortSignal.any([context.signal, stop.signal]);
  const request = {
    runbook: runbookFile,
    components: ["db"],
    kind: "wal",
    streamSeconds: 60,
    prune: "false",
  } as const;
  const run = runBackups(request, { ...context, signal }).catch((error: unknown) => {
    if (!stop.signal.aborted || !(error instanceof AbortedError)) throw error;
  });
  let ended = false;
  run.finally(() => (ended = true)).catch(() => undefined);
  const store = openFileStore({ type: "file", path: storeDir }, "offsite", context);
  while (!ended && (await readHeartbeat(store, "db"))?.partial == null) await sleep(50);
  stop.abort();
  await run;
  if ((await readHeartbeat(store, "db"))?.partial == null) throw new Error("The stream shipped no partial.");
}
