import { expect } from "vitest";
import type { BackupManifest } from "../../../../src/catalog/manifest.ts";
import type { ComponentSetting, Recovered } from "../../../../src/component.ts";
import { backupPostgres } from "../../../../src/postgres/backup.ts";
import type { PostgresConfig } from "../../../../src/postgres/config.ts";
import { recoverPostgres } from "../../../../src/postgres/recovery/recover.ts";
import type { Store } from "../../../../src/stores/store.ts";
import { parseTarget } from "../../../../src/targets.ts";
import { startPostgres, startStandby, type TestPostgres } from "../../../support/postgres.ts";
import { type Taking, taking } from "../taking.ts";

const PRIMARY = "$" + "{PRIMARY_URL}";
const CHECKS = [{ rows: "orders" }, { query: "SELECT count(*) FROM orders", expect: ">= 1000" }];

/** A primary and a standby that follows it. */
export interface Pair extends AsyncDisposable {
  readonly primary: TestPostgres;
  readonly standby: TestPostgres;
}

/** 1000 orders on both; `settings` are the standby's. */
export async function openPair(major: number, settings: Record<string, string> = {}): Promise<Pair> {
  const primary = await startPostgres({ major });
  await primary.query("CREATE TABLE orders (id int PRIMARY KEY, note text)");
  await primary.query("INSERT INTO orders SELECT g, 'note ' || g FROM generate_series(1, 1000) g");
  const standby = await startStandby(primary, settings);
  return {
    primary,
    standby,
    async [Symbol.asyncDispose]() {
      await standby[Symbol.asyncDispose]();
      await primary[Symbol.asyncDispose]();
    },
  };
}

/** A component with a store of its own. */
export interface Place extends Taking {
  backup(kind?: "full" | "wal"): Promise<BackupManifest | undefined>;
  recover(target: string): Promise<Recovered>;
}

/** A store of its own for a source, with the key `primary` when there is one. */
export async function place(
  source: TestPostgres,
  primary?: string,
  store?: (store: Store) => Store,
): Promise<Place> {
  const config = {
    server: { "bin-dir": source.binDir },
    checks: CHECKS,
    ...(primary === undefined ? {} : { primary: PRIMARY }),
  };
  const here = await taking({ url: source.url, config });
  const setting: ComponentSetting<PostgresConfig> = {
    ...here.setting,
    store: store?.(here.store) ?? here.store,
    fill: (path, value) => (path[0] === "primary" ? (primary ?? "") : here.setting.fill(path, value)),
  };
  return {
    ...here,
    setting,
    backup: async (kind = "full") => (await backupPostgres(setting, kind, here.context)).manifest,
    recover: (target) =>
      recoverPostgres(
        setting,
        { target: parseTarget(target), backupId: undefined, now: new Date() },
        here.context,
      ),
  };
}

/** The server's clock, as RFC 3339 with microseconds. */
export async function clock(server: TestPostgres): Promise<string> {
  const [row] = await server.query<{ now: string }>(
    `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS now`,
  );
  return row?.now ?? "";
}

/** Everything that is said of a recovered server, as long as it is not "passed". */
export async function complaints(recovered: Recovered): Promise<unknown[]> {
  const results = [...(await recovered.check()), ...((await recovered.inspect?.()) ?? [])];
  expect(results.length).toBeGreaterThan(5);
  return results.filter((result) => result.status !== "passed");
}

/** Why some work failed. */
export async function refusal(work: Promise<unknown>): Promise<Error> {
  const error = await work.catch((caught: unknown) => caught);
  if (error instanceof Error) return error;
  throw new Error("It was not refused.");
}

/** A recovered server that is disposed of. */
export async function recovering(
  work: Promise<Recovered>,
): Promise<{ readonly recovered: Recovered } & AsyncDisposable> {
  const recovered = await work;
  return { recovered, [Symbol.asyncDispose]: () => recovered.dispose() };
}
