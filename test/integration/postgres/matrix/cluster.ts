import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import type { ComponentSetting } from "../../../../src/component.ts";
import { backupPostgres } from "../../../../src/postgres/backup.ts";
import type { PostgresConfig } from "../../../../src/postgres/config.ts";
import { recoverPostgres } from "../../../../src/postgres/recovery/recover.ts";
import { parseTarget } from "../../../../src/targets.ts";
import {
  type PostgresOptions,
  startPostgres,
  startStandby,
  type TestPostgres,
} from "../../../support/postgres.ts";
import { askAt } from "../recovering.ts";
import { detailsOf, readArchives, taking } from "../taking.ts";
import type { Ground, Variant } from "./variant.ts";

/** A cluster of the matrix. */
export interface Cluster {
  readonly major: number;
  /** How its WAL gets into the store. */
  readonly wal: "slot" | "archive";
  readonly variants: readonly Variant[];
}

const PRIMARY = "$" + "{PRIMARY_URL}";

/** The whole way: a full backup, changes, WAL, a recovery to `latest`, all checks, and each variant's own proof. */
export async function goTheWholeWay(cluster: Cluster): Promise<void> {
  const { major, wal, variants } = cluster;
  await using stack = new AsyncDisposableStack();
  const makeFolder = (): string => {
    const folder = mkdtempSync(join(tmpdir(), "drillbook-test-matrix-"));
    stack.defer(() => rmSync(folder, { recursive: true, force: true }));
    chmodSync(folder, 0o755);
    return folder;
  };
  const archive = wal === "archive" ? makeFolder() : undefined;
  const server = stack.use(await startPostgres(optionsOf(cluster, archive)));
  const own = (path: string): void => {
    if (server.user !== undefined) chownSync(path, server.user.uid, server.user.gid);
  };
  if (archive !== undefined) own(archive);
  const ground: Ground = {
    major,
    server,
    makeFolder() {
      const folder = makeFolder();
      own(folder);
      return folder;
    },
    sql: (text, database) => askAt(urlOf(server.url, database), text),
  };

  if (variants.some((one) => one.source === "promoted")) await promote(server);
  for (const variant of variants) await variant.prepare?.(ground);
  const isStandby = variants.some((one) => one.source === "standby");
  const source = isStandby ? stack.use(await startStandby(server)) : server;

  const config = {
    wal: archive === undefined ? { slot: "drillbook" } : { archive },
    server: { "bin-dir": server.binDir },
    checks: variants.flatMap((one) => one.checks ?? []),
    ...(isStandby ? { primary: PRIMARY } : {}),
  };
  const place = stack.use(await taking({ url: source.url, config }));
  const setting: ComponentSetting<PostgresConfig> = {
    ...place.setting,
    fill: (path, value) => (path[0] === "primary" ? server.url : place.setting.fill(path, value)),
  };
  const { manifest } = await backupPostgres(setting, "full", place.context);
  if (manifest === undefined) throw new Error("There is no backup.");
  for (const variant of variants) await variant.between?.(ground);
  await backupPostgres(setting, "wal", place.context);

  const request = { target: parseTarget("latest"), backupId: undefined, now: new Date() };
  const recovered = await recoverPostgres(setting, request, place.context);
  stack.defer(() => recovered.dispose());
  const results = [...(await recovered.check()), ...((await recovered.inspect?.()) ?? [])];
  expect(results.length).toBeGreaterThan(config.checks.length + 8);
  const unanswered = Object.assign({}, ...variants.map((one) => one.unanswered)) as Record<string, RegExp>;
  for (const { check, status, actual } of results) {
    const why = unanswered[check];
    expect({ check, actual, status }).toMatchObject({ status: why === undefined ? "passed" : "unverified" });
    if (why !== undefined) expect(actual).toMatch(why);
  }
  const { files } = await readArchives(place.store, manifest);
  const sql: Ground["sql"] = (text, database) => askAt(urlOf(recovered.access.url ?? "", database), text);
  for (const variant of variants) {
    await variant.prove({ major, recovered, details: detailsOf(manifest), files, sql });
  }
}

function optionsOf(cluster: Cluster, archive: string | undefined): PostgresOptions {
  const { major, variants } = cluster;
  const all = variants.map((variant) => variant.postgres?.(major) ?? {});
  const archiving = {
    archive_mode: "on",
    archive_command: `cp %p ${archive}/%f.new && mv ${archive}/%f.new ${archive}/%f`,
  };
  return {
    major,
    initdbArgs: all.flatMap((one) => one.initdbArgs ?? []),
    settings: Object.assign({}, archive === undefined ? {} : archiving, ...all.map((one) => one.settings)),
    configOutside: all.some((one) => one.configOutside === true),
  };
}

function urlOf(url: string, database: string | undefined): string {
  const changed = new URL(url);
  if (database !== undefined) changed.pathname = `/${database}`;
  return changed.href;
}

/** Ends the recovery of a standby of nobody: the server goes on with a new timeline, as after a failover. */
async function promote(server: TestPostgres): Promise<void> {
  await server.stop();
  const signal = join(server.dataDir, "standby.signal");
  writeFileSync(signal, "");
  if (server.user !== undefined) chownSync(signal, server.user.uid, server.user.gid);
  await server.restart({ hot_standby: "on" });
  await server.query("SELECT pg_promote()");
}
