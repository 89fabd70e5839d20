import { createHash } from "node:crypto";
import { identityToRecipient } from "age-encryption";
import { unpack } from "../../../../src/archive/unpack.ts";
import { listBackups } from "../../../../src/catalog/backups.ts";
import { objectKey } from "../../../../src/catalog/layout.ts";
import { listSegments, readSidecarOf } from "../../../../src/catalog/wal.ts";
import type { ComponentSetting, Recovered } from "../../../../src/component.ts";
import type { Context } from "../../../../src/context.ts";
import { backupPostgres } from "../../../../src/postgres/backup.ts";
import type { PostgresConfig } from "../../../../src/postgres/config.ts";
import { recoverPostgres } from "../../../../src/postgres/recovery/recover.ts";
import { openS3Store } from "../../../../src/stores/s3.ts";
import type { S3Tuning } from "../../../../src/stores/s3-client.ts";
import { readAll, type Store } from "../../../../src/stores/store.ts";
import { parseTarget } from "../../../../src/targets.ts";
import { digest } from "../../../support/bytes.ts";
import { testContext } from "../../../support/context.ts";
import { type FaultRule, type FaultyProxy, startFaultyProxy } from "../../../support/faulty-proxy.ts";
import { startPostgres, type TestPostgres } from "../../../support/postgres.ts";
import { startS3, type TestS3 } from "../../../support/s3.ts";
import { detailsOf, settingOf } from "../taking.ts";

const SEGMENT_BYTES = 2 ** 20;

/** A small source, with an S3 store behind a hop in which things go wrong. */
export interface FaultySource extends AsyncDisposable {
  readonly server: TestPostgres;
  readonly s3: TestS3;
  /** A component with a place of its own in the store, which it reaches through a hop of its own. */
  open(options: FaultyOptions): Promise<FaultyPlace>;
}

interface FaultyOptions {
  readonly seed: number;
  readonly rules?: readonly FaultRule[];
  readonly identity?: string | undefined;
  readonly tuning?: Partial<S3Tuning>;
  readonly withinMs?: number;
  readonly stallMs?: number;
}

export interface FaultyPlace extends AsyncDisposable {
  readonly proxy: FaultyProxy;
  readonly store: Store;
  /** The same place with no hop between. */
  readonly direct: Store;
  readonly context: Context & { readonly lines: readonly string[] };
  readonly setting: ComponentSetting<PostgresConfig>;
  backup(kind: "full" | "wal"): Promise<string | undefined>;
  recover(): Promise<Recovered>;
}

/** Quick pauses, and little patience with a silent connection. */
const TUNING: S3Tuning = {
  retry: { withinMs: 60_000, baseMs: 2, capMs: 50 },
  connectMs: 10_000,
  idleMs: 1_500,
};

let places = 0;

export async function openFaultySource(): Promise<FaultySource> {
  const server = await startPostgres({
    initdbArgs: [`--wal-segsize=${SEGMENT_BYTES / 2 ** 20}`],
    settings: { min_wal_size: "2MB" },
  });
  const s3 = await startS3();
  await server.query("CREATE TABLE orders (id bigint PRIMARY KEY, note text)");
  return {
    server,
    s3,
    async open({ seed, rules = [], identity, tuning = {}, withinMs = 60_000, stallMs = 2_500 }) {
      places += 1;
      const prefix = `place-${places}`;
      const context = await testContext({ env: { ...process.env, ...s3.env } });
      // The stores outlive an abort of the context, so that what was left can be looked at.
      const patient = { ...context, signal: new AbortController().signal };
      const config = { type: "s3", bucket: s3.bucket, prefix } as const;
      const direct = await openS3Store({ ...config, endpoint: s3.endpoint }, "offsite", patient);
      const proxy = await startFaultyProxy(s3.endpoint, { seed, rules, stallMs });
      const impatient = { ...TUNING, ...tuning, retry: { ...TUNING.retry, withinMs } };
      const store = await openS3Store({ ...config, endpoint: proxy.url }, "offsite", patient, impatient);
      const recipients = identity === undefined ? [] : [await identityToRecipient(identity)];
      const setting = {
        ...settingOf(store, {
          url: server.url,
          config: { server: { "bin-dir": server.binDir }, integrity: false },
        }),
        encryption: { recipients, identity: () => identity },
      };
      return {
        proxy,
        store,
        direct,
        context,
        setting,
        backup: async (kind) => (await backupPostgres(setting, kind, context)).manifest?.id,
        recover: () =>
          recoverPostgres(
            setting,
            { target: parseTarget("latest"), backupId: undefined, now: new Date() },
            context,
          ),
        async [Symbol.asyncDispose]() {
          await context[Symbol.asyncDispose]();
          store.close();
          direct.close();
          await proxy.close();
        },
      };
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await s3.close();
    },
  };
}

/** Puts about a MiB of rows into the source that do not compress. */
export async function addOrders(server: TestPostgres): Promise<void> {
  await server.query(
    `INSERT INTO orders SELECT n + coalesce((SELECT max(id) FROM orders), 0), string_agg(md5(random()::text || m), '')
     FROM generate_series(1, 2000) n, generate_series(1, 12) m GROUP BY n`,
  );
}

export const CONTENT =
  "SELECT count(*) || ' ' || md5(string_agg(note, '' ORDER BY id)) AS content FROM orders";

export async function contentOf(server: TestPostgres): Promise<string> {
  const [row] = await server.query<{ content: string }>(CONTENT);
  return row?.content ?? "";
}

/** Compares every object that the catalog names with what was recorded of it; the number of objects. Reads with no hop between. */
export async function auditPlace({ direct, setting }: FaultyPlace): Promise<number> {
  const component = setting.name;
  let objects = 0;
  for (const manifest of await listBackups(direct, component)) {
    for (const object of manifest.objects) {
      const key = objectKey(component, manifest.id, object.name);
      const found = await digest(await direct.get(key));
      const { storedBytes: bytes, storedSha256: sha256 } = object;
      if (found.bytes !== bytes || found.sha256 !== sha256)
        throw new Error(`${key} is not what was written.`);
      objects += 1;
    }
    detailsOf(manifest);
  }
  const { segments, unfinished } = await listSegments(direct, component, SEGMENT_BYTES);
  if (unfinished.length > 0) throw new Error(`Left over: ${unfinished.join(", ")}`);
  for (const segment of segments.values()) {
    const sidecar = await readSidecarOf(direct, component, segment);
    const raw = unpack(await direct.get(segment.key), {
      subject: segment.key,
      sealed: segment.sealed,
      identity: setting.encryption.identity(),
    });
    const sha256 = createHash("sha256")
      .update(await readAll(raw))
      .digest("hex");
    if (sha256 !== sidecar.sha256) throw new Error(`${segment.key} is not what was archived.`);
    objects += 1;
  }
  return objects;
}
