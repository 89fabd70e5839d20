import { createHash } from "node:crypto";
import { generateIdentity, identityToRecipient } from "age-encryption";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pack } from "../../../../src/archive/pack.ts";
import { readHeartbeat } from "../../../../src/catalog/heartbeat.ts";
import { objectKey, segmentKey, sidecarKey } from "../../../../src/catalog/layout.ts";
import type { BackupManifest } from "../../../../src/catalog/manifest.ts";
import { DefectError } from "../../../../src/errors.ts";
import { readAll, type Store } from "../../../../src/stores/store.ts";
import { alterObject, openSource, roomContext, type Source, spiedStore } from "../recovering.ts";
import { keysOf, readSegment } from "../taking.ts";

/**
 * The history: backup | segments full of orders | `target` | more segments | archived. What is damaged lies in the middle,
 * between the backup and the target, unless a test says otherwise.
 */
describe.each([
  { major: 15, sealed: false },
  { major: 18, sealed: true },
])("PostgreSQL $major, sealed: $sealed: a drill does not pass", ({ major, sealed }) => {
  let source: Source;
  let store: Store;
  let manifest: BackupManifest;
  let target: string;
  /** All archived segments; the backup needs the first, the target lies behind the middle. */
  let segments: string[];
  let middle: string;
  let next: string;
  const saved = new Map<string, Buffer>();

  beforeAll(async () => {
    const identity = await generateIdentity();
    const recipients = sealed ? [await identityToRecipient(identity)] : [];
    source = await openSource({ postgres: { major }, recipients, identity });
    const { server } = source;
    store = source.taking.store;
    await server.query("CREATE TABLE orders (id int, note text)");
    const backup = await source.backup();
    if (backup === undefined) throw new Error("no backup");
    manifest = backup;
    const before = (await archived()).length;
    const fill = "INSERT INTO orders SELECT g, repeat(md5(g::text), 10) FROM generate_series(1, 100000) g";
    await server.query(fill);
    target = await source.clock();
    await server.query(fill);
    await source.backup("wal");
    segments = await archived();
    expect(segments.length).toBeGreaterThan(before + 4);
    // Full of records: the segments of the backup itself were switched early and are mostly empty.
    middle = segments[before + 1] ?? "";
    next = segments[before + 2] ?? "";
  });
  afterAll(async () => {
    await source[Symbol.asyncDispose]();
  });

  async function archived(): Promise<string[]> {
    const keys = await keysOf(store, "db/wal/");
    return keys.filter((key) => key.endsWith(".json")).map((key) => key.slice(-29, -5));
  }

  async function damage(key: string, change: (bytes: Buffer) => Buffer): Promise<void> {
    saved.set(key, await readAll(await store.get(key)));
    await alterObject(store, key, change);
  }
  async function remove(key: string): Promise<void> {
    saved.set(key, await readAll(await store.get(key)));
    await store.delete([key]);
  }
  async function mend(): Promise<void> {
    for (const [key, bytes] of saved) await store.put(key, chunks(bytes));
    saved.clear();
  }

  /** The error of a drill, and the proof that nothing of it is left. */
  async function defect(where: string, setting = source.setting): Promise<DefectError> {
    await using context = await roomContext();
    try {
      const error = await source.recover(where, { context, setting, backupId: manifest.id }).then(
        async (recovered) => {
          await recovered.dispose();
          return new Error(`It was recovered to ${recovered.reached.lsn}.`);
        },
        (thrown: unknown) => thrown,
      );
      expect(error).toBeInstanceOf(DefectError);
      expect(context.remains()).toEqual([]);
      return error as DefectError;
    } finally {
      await mend();
    }
  }

  test("when a segment before the target is missing", async () => {
    const key = segmentKey("db", middle, sealed);
    await remove(key);
    const error = await defect(target);
    expect(error.subject).toBe(store.describe(key));
    expect(error.message).toContain(store.describe(key));
    await remove(key);
    expect((await defect("latest")).subject).toBe(store.describe(key));
  });

  test("when only its sidecar is missing", async () => {
    const key = sidecarKey("db", middle);
    await remove(key);
    expect((await defect(target)).subject).toBe(store.describe(key));
  });

  test("when the last archived segment is missing and the target is latest", async () => {
    const last = segments.at(-1) ?? "";
    expect((await readHeartbeat(store, "db"))?.lastSegment).toBe(last);
    const key = segmentKey("db", last, sealed);
    await remove(key);
    await remove(sidecarKey("db", last));
    expect((await defect("latest")).subject).toBe(store.describe(key));
  });

  test("when 16 bytes of a segment were overwritten", async () => {
    const key = segmentKey("db", middle, sealed);
    await damage(key, (bytes) => bytes.fill(0x2a, bytes.length >> 1, (bytes.length >> 1) + 16));
    const error = await defect(target);
    expect(error.subject).toBe(store.describe(key));
    expect(error.message).toContain(store.describe(key));
  });

  test("when a segment is empty, or another one lies under its name", async () => {
    const key = segmentKey("db", middle, sealed);
    await damage(key, () => Buffer.alloc(0));
    expect((await defect(target)).subject).toBe(store.describe(key));
    const other = await readAll(await store.get(segmentKey("db", next, sealed)));
    await damage(key, () => other);
    expect((await defect(target)).subject).toBe(store.describe(key));
  });

  test("when a sidecar says that the segment is another cluster's", async () => {
    const key = sidecarKey("db", middle);
    await damage(key, (bytes) => {
      const sidecar = JSON.parse(bytes.toString()) as object;
      return Buffer.from(JSON.stringify({ ...sidecar, systemIdentifier: "7000000000000000000" }));
    });
    expect((await defect(target)).message).toMatch(/is of the cluster 7000000000000000000/);
  });

  test("when the newest restore point has the name of an older one, where replay would end too early", async () => {
    const newest = segments.at(-1) ?? "";
    const named = async (segment: string) =>
      JSON.parse((await readAll(await store.get(sidecarKey("db", segment)))).toString()) as {
        restorePoint?: { name: string };
      };
    const points = await Promise.all(segments.slice(0, -1).map(named));
    const older = points.findLast((one) => one.restorePoint !== undefined)?.restorePoint?.name;
    expect(older).toBeDefined();
    await damage(sidecarKey("db", newest), (bytes) => {
      const sidecar = JSON.parse(bytes.toString()) as { restorePoint: object };
      return Buffer.from(
        JSON.stringify({ ...sidecar, restorePoint: { ...sidecar.restorePoint, name: older } }),
      );
    });
    expect((await defect("latest")).message).toContain(older);
  });

  test("when the newest segment no longer names the point that the last run ended in", async () => {
    await damage(sidecarKey("db", segments.at(-1) ?? ""), (bytes) => {
      const { restorePoint: _, ...sidecar } = JSON.parse(bytes.toString()) as { restorePoint: object };
      return Buffer.from(JSON.stringify(sidecar));
    });
    expect((await defect("latest")).message).toMatch(/heartbeat.json says .*a sidecar was altered/);
  });

  test.runIf(!sealed)("when PostgreSQL finds a segment broken that was archived like that", async () => {
    const raw = await readSegment(store, middle);
    raw.fill(0x2a, raw.length >> 1, (raw.length >> 1) + 16);
    const sha256 = createHash("sha256").update(raw).digest("hex");
    const packed = await readAll(pack(chunks(raw), { recipients: [] }).stream);
    await damage(segmentKey("db", middle, false), () => packed);
    await damage(sidecarKey("db", middle), (bytes) =>
      Buffer.from(JSON.stringify({ ...(JSON.parse(bytes.toString()) as object), sha256 })),
    );
    const error = await defect(target);
    expect(error.subject).toBe(store.describe(segmentKey("db", middle, false)));
    expect(error.message).toMatch(/recovery ended before configured recovery target was reached/);
  });

  test("when one byte of the base archive was flipped", async () => {
    const name = manifest.objects.find((object) => object.name.startsWith("base.tar"))?.name ?? "";
    const key = objectKey("db", manifest.id, name);
    for (const part of [0.02, 0.5, 0.98]) {
      await damage(key, (bytes) => {
        const at = Math.floor(bytes.length * part);
        bytes[at] = (bytes[at] ?? 0) ^ 1;
        return bytes;
      });
      const error = await defect("latest");
      expect(error.subject).toBe(store.describe(key));
      expect(error.message).toContain(store.describe(key));
    }
  });

  test("when an object of the backup is missing or cut", async () => {
    for (const object of manifest.objects) {
      const key = objectKey("db", manifest.id, object.name);
      await remove(key);
      expect((await defect("latest")).subject).toBe(store.describe(key));
      await damage(key, (bytes) => bytes.subarray(0, bytes.length - 1));
      expect((await defect("latest")).subject).toBe(store.describe(key));
    }
  });

  test("when PostgreSQL's own list of files was altered", async () => {
    const key = objectKey("db", manifest.id, "backup_manifest");
    await damage(key, (bytes) => Buffer.from(bytes.toString().replace('"Size": 3', '"Size": 4')));
    expect((await defect("latest")).subject).toBe(store.describe(key));
  });

  test.runIf(sealed)("without an identity, before anything is fetched", async () => {
    await using context = await roomContext();
    const spied = spiedStore(store);
    const encryption = { ...source.setting.encryption, identity: () => undefined };
    const setting = { ...source.setting, store: spied, encryption };
    await expect(source.recover("latest", { context, setting })).rejects.toThrow(/encryption\.identity/);
    expect(spied.reads.filter((key) => !key.endsWith(".json"))).toEqual([]);
  });

  test.runIf(sealed)("with the wrong identity", async () => {
    const identity = await generateIdentity();
    const encryption = { ...source.setting.encryption, identity: () => identity };
    const error = await defect("latest", { ...source.setting, encryption });
    expect(error.message).toContain("base.tar.zst.age");
  });

  test("but passes when the damage lies behind the target, and says that there is a gap", async () => {
    await using context = await roomContext();
    // The newest restore point stays; what is gone was archived by a later run.
    const before = segments.length;
    await source.server.query("INSERT INTO orders VALUES (1, 'late')");
    await source.backup("wal");
    await source.server.query("INSERT INTO orders VALUES (2, 'later')");
    await source.backup("wal");
    const gone = (await archived())[before] ?? "";
    await remove(segmentKey("db", gone, sealed));
    try {
      const recovered = await source.recover(target, { context, backupId: manifest.id });
      await recovered.dispose();
      expect(context.lines.join("\n")).toMatch(
        new RegExp(`warning: .* has a gap behind the target: ${gone}`),
      );
    } finally {
      await mend();
    }
  });
});

async function* chunks(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
