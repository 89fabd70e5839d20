import { chown, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Context } from "../../src/context.ts";
import { guardedFolder } from "../lib/guard.ts";
import { startPostgres, startStandby, type TestPostgres } from "../lib/postgres.ts";
import { serverUser } from "../lib/postgres-binaries.ts";
import { fill, makePlace, type Place, sell } from "./source.ts";

/** Segments of 1 MB: many of them in a small store. */
export const SMALL_SEGMENTS = ["--wal-segsize=1", "--data-checksums"];

/** A store with something of everything. */
export interface HealthyStore extends AsyncDisposable {
  readonly place: Place;
  /** The server that it is a backup of, on its second timeline. */
  readonly server: TestPostgres;
  /** Another cluster, in the component `other`. */
  readonly other: TestPostgres;
}

/**
 * Makes the store that is broken: sealed, two base backups, WAL before, between and behind them, a tablespace, a promotion
 * in between, another cluster and a second server of the same one as components beside it, and a passed drill.
 */
export async function makeHealthyStore(context: Context): Promise<HealthyStore> {
  const stack = new AsyncDisposableStack();
  try {
    const server = stack.use(await startPostgres({ initdbArgs: SMALL_SEGMENTS }));
    const other = stack.use(await startPostgres({ initdbArgs: SMALL_SEGMENTS }));
    await fill(server);
    await fill(other);
    const fork = stack.use(await startStandby(server));
    const servers = { db: server, other, fork };
    const place = await makePlace("main", { servers }, context);

    await place.backup();
    await sell(server, 3);
    await place.backup("wal");
    await promote(fork);
    await failOver(server);
    const tablespace = await guardedFolder("drillbook-sabotage-ts-", serverUser());
    stack.defer(() => tablespace.remove());
    await server.query(`CREATE TABLESPACE archive LOCATION '${tablespace.path}'`);
    await server.query("CREATE TABLE old_orders TABLESPACE archive AS SELECT * FROM orders");
    await sell(server, 2);
    await place.backup();
    await sell(server, 5);
    await place.backup("wal");

    await sell(fork, 12);
    await place.backup("wal", { component: "fork" });
    await fork.stop();
    await place.backup("full", { component: "other" });
    await sell(other, 3);
    await place.backup("wal", { component: "other" });
    await place.drill();
    const kept = stack.move();
    return { place, server, other, [Symbol.asyncDispose]: () => kept.disposeAsync() };
  } finally {
    await stack.disposeAsync();
  }
}

/** Ends recovery of a standby. */
async function promote(server: TestPostgres): Promise<void> {
  await server.query("SELECT pg_promote()");
}

/** A new timeline, as after a failover: the server starts as a standby of nobody and is promoted. */
export async function failOver(server: TestPostgres): Promise<void> {
  await server.stop();
  const signal = join(server.dataDir, "standby.signal");
  await writeFile(signal, "");
  if (server.user !== undefined) await chown(signal, server.user.uid, server.user.gid);
  await server.restart({ hot_standby: "on" });
  await promote(server);
}
