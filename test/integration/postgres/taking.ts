import { createHash } from "node:crypto";
import { join } from "node:path";
import { Readable } from "node:stream";
import { extract } from "tar-stream";
import { unpack } from "../../../src/archive/unpack.ts";
import { objectKey, segmentKey } from "../../../src/catalog/layout.ts";
import type { BackupManifest } from "../../../src/catalog/manifest.ts";
import type { ComponentSetting } from "../../../src/component.ts";
import { type PostgresConfig, postgresConfig } from "../../../src/postgres/config.ts";
import { type PostgresDetails, postgresDetails } from "../../../src/postgres/details.ts";
import { openStore } from "../../../src/stores/open.ts";
import { readAll, type Store } from "../../../src/stores/store.ts";
import { type TestContext, testContext } from "../../support/context.ts";

/** A runbook never holds the URI itself. */
const CONNECTION = "$" + "{DATABASE_URL}";

/** A component's setting with a file store of its own. */
export interface Taking extends AsyncDisposable {
  readonly context: TestContext;
  readonly store: Store;
  readonly setting: ComponentSetting<PostgresConfig>;
}

export interface TakingOptions {
  readonly url: string;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly recipients?: readonly string[];
  /** Another store's folder, to continue what another taking began. */
  readonly like?: Taking;
}

export async function taking(options: TakingOptions): Promise<Taking> {
  const context = await testContext();
  const path = join((options.like?.context ?? context).workDir, "store");
  // The store outlives an abort of the context, so that what was left can be looked at.
  const patient = { ...context, signal: new AbortController().signal };
  const store = await openStore({ type: "file", path }, "local", patient);
  return { context, store, setting: settingOf(store, options), [Symbol.asyncDispose]: dispose };

  async function dispose(): Promise<void> {
    store.close();
    await context[Symbol.asyncDispose]();
  }
}

export function settingOf(store: Store, options: TakingOptions): ComponentSetting<PostgresConfig> {
  const config = postgresConfig.parse({
    type: "postgres",
    store: "local",
    connection: CONNECTION,
    wal: { slot: "drillbook" },
    ...options.config,
  });
  return {
    service: "shop",
    name: "db",
    config,
    store,
    encryption: { recipients: options.recipients ?? [], identity: () => undefined },
    fill: (_path, value) => (value === CONNECTION ? options.url : value),
  };
}

export function detailsOf(manifest: BackupManifest | undefined): PostgresDetails {
  return postgresDetails.parse(manifest?.details);
}

export async function keysOf(store: Store, prefix = ""): Promise<string[]> {
  const keys: string[] = [];
  for await (const object of store.list(prefix)) keys.push(object.key);
  return keys;
}

/** A segment as it was before it was packed. */
export async function readSegment(store: Store, name: string): Promise<Buffer> {
  const key = segmentKey("db", name, false);
  return await readAll(unpack(await store.get(key), { subject: store.describe(key), sealed: false }));
}

export interface ArchivedFile {
  readonly bytes: number;
  readonly sha256: string;
}

/** All files of a backup's archives by their path below the data folder, and the links of its tablespaces. */
export async function readArchives(
  store: Store,
  manifest: BackupManifest,
  identity?: string,
): Promise<{ files: Map<string, ArchivedFile>; links: Map<string, string> }> {
  const files = new Map<string, ArchivedFile>();
  const links = new Map<string, string>();
  for (const object of manifest.objects.filter((each) => each.role === "archive")) {
    const key = objectKey(manifest.component, manifest.id, object.name);
    const oid = /^(\d+)\.tar/.exec(object.name)?.[1];
    const raw = unpack(await store.get(key), {
      subject: store.describe(key),
      sealed: object.sealed,
      identity,
      frames: object.frames,
      storedSha256: object.storedSha256,
      storedBytes: object.storedBytes,
    });
    const tar: AsyncIterable<TarEntry> = Readable.from(raw, { objectMode: false }).pipe(extract()) as never;
    for await (const entry of tar) {
      const path = (oid === undefined ? "" : `pg_tblspc/${oid}/`) + entry.header.name;
      const hash = createHash("sha256");
      let bytes = 0;
      for await (const chunk of entry) {
        hash.update(chunk);
        bytes += chunk.length;
      }
      if (entry.header.type === "symlink") links.set(path.replace(/\/$/, ""), entry.header.linkname ?? "");
      if (entry.header.type === "file") files.set(path, { bytes, sha256: hash.digest("hex") });
    }
  }
  return { files, links };
}

interface TarEntry extends AsyncIterable<Buffer> {
  readonly header: { readonly name: string; readonly type?: string; readonly linkname?: string };
}

/** PostgreSQL's own list of the files of a backup. */
export async function readServerManifest(
  store: Store,
  manifest: BackupManifest,
): Promise<{ Path: string; Size: number; Checksum: string }[]> {
  const key = objectKey(manifest.component, manifest.id, "backup_manifest");
  const text = (await readAll(await store.get(key))).toString("utf8");
  return (JSON.parse(text) as { Files: { Path: string; Size: number; Checksum: string }[] }).Files;
}
