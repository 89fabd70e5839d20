import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import type { BackupManifest } from "../../../src/catalog/manifest.ts";
import type { ComponentSetting, Recovered } from "../../../src/component.ts";
import type { Context } from "../../../src/context.ts";
import { backupPostgres } from "../../../src/postgres/backup.ts";
import type { PostgresConfig } from "../../../src/postgres/config.ts";
import { recoverPostgres } from "../../../src/postgres/recovery/recover.ts";
import { readAll, type Store } from "../../../src/stores/store.ts";
import { parseTarget } from "../../../src/targets.ts";
import { type TestContext, testContext } from "../../support/context.ts";
import { type PostgresOptions, startPostgres, type TestPostgres } from "../../support/postgres.ts";
import { settingOf, type Taking, taking } from "./taking.ts";

/** A source with a store, and what a drill does with them. */
export interface Source extends AsyncDisposable {
  readonly server: TestPostgres;
  readonly taking: Taking;
  readonly setting: ComponentSetting<PostgresConfig>;
  backup(kind?: "full" | "wal"): Promise<BackupManifest | undefined>;
  /** The server's clock, as RFC 3339 with microseconds. */
  clock(): Promise<string>;
  recover(target: string, options?: RecoverOptions): Promise<Recovered>;
}

interface RecoverOptions {
  readonly setting?: ComponentSetting<PostgresConfig>;
  readonly context?: TestContext;
  readonly backupId?: string;
  readonly now?: Date;
}

export interface SourceOptions {
  readonly postgres?: PostgresOptions;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly recipients?: readonly string[];
  readonly identity?: string;
}

export async function openSource(options: SourceOptions = {}): Promise<Source> {
  const server = await startPostgres(options.postgres);
  const config = { server: { "bin-dir": server.binDir }, ...options.config };
  const place = await taking({ url: server.url, config, recipients: options.recipients ?? [] });
  const setting = {
    ...place.setting,
    encryption: { recipients: options.recipients ?? [], identity: () => options.identity },
  };
  return {
    server,
    taking: place,
    setting,
    async backup(kind = "full") {
      return (await backupPostgres(setting, kind, place.context)).manifest;
    },
    async clock() {
      const [row] = await server.query<{ now: string }>(
        `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS now`,
      );
      return row?.now ?? "";
    },
    async recover(target, more = {}) {
      const request = { target: parseTarget(target), backupId: more.backupId, now: more.now ?? new Date() };
      return await recoverPostgres(more.setting ?? setting, request, more.context ?? place.context);
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await place[Symbol.asyncDispose]();
    },
  };
}

/** The same component with other keys of its config. */
export function withConfig(
  source: Source,
  config: Readonly<Record<string, unknown>>,
): ComponentSetting<PostgresConfig> {
  const other = settingOf(source.taking.store, {
    url: source.server.url,
    config: { server: { "bin-dir": source.server.binDir }, ...config },
  });
  return { ...other, encryption: source.setting.encryption };
}

/** What the recovered server answers over the URL that `run` steps get. */
export async function ask(recovered: Recovered, sql: string): Promise<string | null | undefined> {
  return await askAt(recovered.access.url ?? "", sql);
}

/** The first value that a server answers. */
export async function askAt(url: string, sql: string): Promise<string | null | undefined> {
  const client = new pg.Client({
    connectionString: url,
    types: { getTypeParser: () => (value: string) => value },
  });
  await client.connect();
  try {
    const result = await client.query<(string | null)[]>({ text: sql, rowMode: "array" });
    return result.rows[0]?.[0];
  } finally {
    await client.end();
  }
}

/** A context whose work folder has a parent of its own, where everything a recovery makes can be seen. */
export interface RoomContext extends TestContext {
  /** Folders that are left beside the work folder, and processes whose command line names one. */
  remains(): string[];
}

export async function roomContext(overrides: Partial<Context> = {}): Promise<RoomContext> {
  const room = mkdtempSync(join(tmpdir(), "drillbook-room-"));
  // The scratch server's user must be able to get to its folder.
  chmodSync(room, 0o755);
  const workDir = join(room, "work");
  mkdirSync(workDir, { mode: 0o700 });
  const context = await testContext();
  return {
    ...context,
    ...overrides,
    workDir,
    remains: () => [...readdirSync(room).filter((name) => name !== "work"), ...processesNaming(room)],
    async [Symbol.asyncDispose]() {
      await context[Symbol.asyncDispose]();
      rmSync(room, { recursive: true, force: true });
    },
  };
}

function processesNaming(text: string): string[] {
  if (!existsSync("/proc")) return [];
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      } catch {
        return "";
      }
    })
    .filter((line) => line.includes(text));
}

/** A store that remembers the keys that were read. */
export function spiedStore(store: Store): Store & { readonly reads: string[] } {
  const reads: string[] = [];
  return {
    reads,
    describe: (key) => store.describe(key),
    put: (key, body, options) => store.put(key, body, options),
    create: (key, body, signal) => store.create(key, body, signal),
    get: (key, options) => {
      reads.push(key);
      return store.get(key, options);
    },
    list: (prefix, signal) => store.list(prefix, signal),
    stat: (key, signal) => store.stat(key, signal),
    delete: (keys, signal) => store.delete(keys, signal),
    removeUnfinished: (prefix, before, signal) => store.removeUnfinished(prefix, before, signal),
    close: () => undefined,
  };
}

/** Replaces an object of a file store by what `change` makes of it. */
export async function alterObject(
  store: Store,
  key: string,
  change: (bytes: Buffer) => Buffer,
): Promise<void> {
  const before = await readAll(await store.get(key));
  await store.put(key, once(change(before)));
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
