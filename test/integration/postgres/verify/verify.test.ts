import { copyFile, cp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { generateIdentity, identityToRecipient } from "age-encryption";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listBackups } from "../../../../src/catalog/backups.ts";
import { readVerifications } from "../../../../src/catalog/verifications.ts";
import type { Verification, VerifyRequest } from "../../../../src/component.ts";
import { verifyPostgres } from "../../../../src/postgres/verify/verify.ts";
import { alterObject, openSource, type Source } from "../recovering.ts";
import { keysOf, settingOf } from "../taking.ts";

const FRESH = { backup: "26h", wal: "1h" };
let source: Source;
let healthy: string;
let folder: string;

/** Two backups with WAL between and behind them, sealed. */
beforeAll(async () => {
  const identity = await generateIdentity();
  const recipients = [await identityToRecipient(identity)];
  const checks = [{ query: "SELECT count(*) FROM orders", expect: "= 3" }];
  source = await openSource({ recipients, identity, config: { freshness: FRESH, checks } });
  await source.server.query("CREATE TABLE orders AS SELECT 1 AS id");
  await source.backup();
  await source.server.query("INSERT INTO orders VALUES (2)");
  await source.backup("wal");
  await source.backup();
  await source.server.query("INSERT INTO orders VALUES (3)");
  await source.backup("wal");
  folder = join(source.taking.context.workDir, "store");
  healthy = join(source.taking.context.workDir, "healthy");
  await cp(folder, healthy, { recursive: true, preserveTimestamps: true });
});

afterAll(async () => {
  await source?.[Symbol.asyncDispose]();
});

async function restored(): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await cp(healthy, folder, { recursive: true, preserveTimestamps: true });
}

function verify(
  depth: VerifyRequest["depth"],
  more: Partial<VerifyRequest> = {},
  setting = source.setting,
): Promise<Verification> {
  const request = { depth, now: new Date(), rpoSeconds: 3_600, share: undefined, ...more };
  return verifyPostgres(setting, request, source.taking.context);
}

function codesOf({ findings }: Verification): string[] {
  return [...new Set(findings.filter(({ severity }) => severity === "error").map(({ code }) => code))];
}

async function keysLike(pattern: RegExp): Promise<string[]> {
  const keys = (await keysOf(source.taking.store)).filter((key) => pattern.test(key));
  expect(keys, String(pattern)).not.toEqual([]);
  return keys;
}

describe("a sound store", () => {
  test.each(["inventory", "checksums", "restore"] as const)(
    "has no finding at the depth %s",
    async (depth) => {
      await restored();
      const result = await verify(depth);
      expect(result.findings).toEqual([]);
      const ids = (await listBackups(source.taking.store, "db")).map(({ id }) => id);
      expect(result).toMatchObject({ backups: 2, newestBackup: ids[1] });
      expect(result.rpoSeconds).toBeLessThan(3_600);
      expect(Date.parse(result.window?.to ?? "")).toBeGreaterThan(Date.parse(result.window?.from ?? ""));
      const objects = (await keysOf(source.taking.store)).filter((key) => /\/(?:backups|wal)\//.test(key));
      expect(result.held.objects).toBe(objects.length);
      const packed = objects.filter((key) => !key.endsWith(".json"));
      expect(result.read.objects).toBe(depth === "checksums" ? packed.length : 0);
      const proven = { inventory: [], checksums: ids, restore: ids.slice(1) }[depth];
      expect(result.verified).toEqual(proven);
    },
  );

  test("is read in shares that together are everything", async () => {
    await restored();
    const shares = [0, 1, 2].map((part) => verify("checksums", { share: { part, of: 3 } }));
    const read = (await Promise.all(shares)).map((result) => result.read.objects);
    const packed = await keysLike(/\/(?:backups|wal)\/.*(?<!\.json)$/);
    expect(read.reduce((sum, count) => sum + count, 0)).toBe(packed.length);
    expect(Math.max(...read)).toBeLessThan(packed.length);
  });
});

describe("what can be seen without reading data", () => {
  const CASES: [string, RegExp, string, number][] = [
    ["a part of a backup", /base\.tar/, "backup-incomplete", 0],
    ["the list of files", /backup_manifest/, "backup-incomplete", -1],
    ["the newest manifest", /manifest\.json/, "backup-incomplete", -1],
    ["the cluster's identity", /cluster\.json/, "backup-incomplete", -1],
    ["a segment between two backups", /wal\/.*\.zst\.age/, "wal-gap", 2],
    ["the last segment", /wal\/.*\.zst\.age/, "wal-gap", -1],
    ["a sidecar", /wal\/.*[0-9A-F]{24}\.json/, "wal-gap", 2],
  ];
  test.each(CASES)("%s that is gone", async (_name, pattern, code, which) => {
    await restored();
    const keys = await keysLike(pattern);
    await source.taking.store.delete([keys.at(which) ?? ""]);
    expect(codesOf(await verify("inventory"))).toContain(code);
  });

  test("a part that was cut, and a manifest that is no document", async () => {
    await restored();
    const [archive = ""] = await keysLike(/base\.tar/);
    await alterObject(source.taking.store, archive, (bytes) => bytes.subarray(0, bytes.length - 1));
    const [manifest = ""] = (await keysLike(/manifest\.json/)).slice(-1);
    await alterObject(source.taking.store, manifest, () => Buffer.from("{}"));
    const { findings } = await verify("inventory");
    const corrupt = findings.filter(({ code }) => code === "backup-corrupt").map(({ subject }) => subject);
    expect(corrupt.toSorted()).toEqual(
      [archive, manifest].map((key) => source.taking.store.describe(key)).toSorted(),
    );
  });

  test("no backup at all", async () => {
    await rm(folder, { recursive: true, force: true });
    expect(codesOf(await verify("inventory"))).toEqual(["no-backup"]);
  });

  test("backups and WAL that are too old", async () => {
    await restored();
    const hours = (count: number) => new Date(Date.now() + count * 3_600_000);
    expect(codesOf(await verify("inventory", { now: hours(2) }))).toEqual(["wal-stale"]);
    expect(codesOf(await verify("inventory", { now: hours(27) }))).toEqual(["backup-stale", "wal-stale"]);
    const loose = { ...source.setting, config: { ...source.setting.config, freshness: {} } };
    expect(codesOf(await verify("inventory", { now: hours(2), rpoSeconds: 7_100 }, loose))).toEqual([
      "wal-stale",
    ]);
    expect(codesOf(await verify("inventory", { now: hours(2), rpoSeconds: 9_000 }, loose))).toEqual([]);
  });

  test("a key that cannot open the newest backup", async () => {
    await restored();
    const identity = await generateIdentity();
    const encryption = { ...source.setting.encryption, identity: () => identity };
    expect(codesOf(await verify("inventory", {}, { ...source.setting, encryption }))).toEqual([
      "key-mismatch",
    ]);
    const none = { ...source.setting.encryption, identity: () => undefined };
    const result = await verify("inventory", {}, { ...source.setting, encryption: none });
    expect(result.findings).toEqual([]);
    expect(result.unchecked.join()).toContain("none is given");
  });

  test("a source without its slot, and one that does not answer", async () => {
    await restored();
    const other = (config: Readonly<Record<string, unknown>>, url = source.server.url) => ({
      ...settingOf(source.taking.store, { url, config }),
      encryption: source.setting.encryption,
    });
    const gone = await verify("inventory", {}, other({ wal: { slot: "another" } }));
    expect(codesOf(gone)).toEqual(["slot-at-risk"]);
    const silent = await verify("inventory", {}, other({}, "postgresql://nobody@127.0.0.1:1/postgres"));
    expect(silent.findings).toMatchObject([{ code: "not-verified", severity: "warning" }]);
  });

  test("a timeline without its history file", async () => {
    await restored();
    for (const key of await keysLike(/wal\/00000001\/00000001[0-9A-F]{16}\.(?:zst\.age|json)$/)) {
      const path = join(folder, key);
      const target = path.replaceAll("wal/00000001/00000001", "wal/00000003/00000003");
      await cp(path, target);
    }
    expect(codesOf(await verify("inventory"))).toContain("timeline-fork");
  });
});

describe("what only the bytes show", () => {
  test.each([
    ["a base archive", /base\.tar/, "backup-corrupt"],
    ["the census", /census/, "backup-corrupt"],
    ["a segment", /wal\/.*\.zst\.age/, "wal-corrupt"],
  ])("one flipped byte of %s", async (_name, pattern, code) => {
    await restored();
    const [key = ""] = await keysLike(pattern);
    await alterObject(source.taking.store, key, (bytes) => {
      const middle = Math.floor(bytes.length / 2);
      bytes.writeUInt8(bytes.readUInt8(middle) ^ 1, middle);
      return bytes;
    });
    expect(codesOf(await verify("inventory"))).toEqual([]);
    const result = await verify("checksums");
    expect(codesOf(result)).toEqual([code]);
    expect(result.findings[0]?.subject).toBe(source.taking.store.describe(key));
    if (code === "wal-corrupt") expect(result.verified).toEqual([]);
  });

  test("two segments that changed places, with and without their sidecars", async () => {
    for (const forms of [[".zst.age"], [".zst.age", ".json"]]) {
      await restored();
      const names = (await keysLike(/wal\/.*\.zst\.age/))
        .slice(0, 2)
        .map((key) => join(folder, key).replace(".zst.age", ""));
      for (const form of forms) {
        const spare = join(folder, "spare");
        await copyFile(`${names[0]}${form}`, spare);
        await copyFile(`${names[1]}${form}`, `${names[0]}${form}`);
        await copyFile(spare, `${names[1]}${form}`);
        await rm(spare);
      }
      expect(codesOf(await verify("checksums"))).toEqual(["wal-corrupt"]);
    }
  });

  test("a sidecar of another cluster, and one that names a point that is not there", async () => {
    await restored();
    const [sidecar = ""] = await keysLike(/wal\/.*[0-9A-F]{24}\.json/);
    const edit = (change: (document: Record<string, unknown>) => void) =>
      alterObject(source.taking.store, sidecar, (bytes) => {
        const document = JSON.parse(bytes.toString("utf8")) as Record<string, unknown>;
        change(document);
        return Buffer.from(JSON.stringify(document));
      });
    await edit((document) => {
      document.systemIdentifier = "7";
    });
    expect(codesOf(await verify("checksums"))).toEqual(["foreign-system"]);
    await restored();
    await edit((document) => {
      document.restorePoints = [{ name: "x", lsn: "0/2FFFF00", time: "2026-01-25T12:00:00.000000Z" }];
    });
    expect(codesOf(await verify("checksums"))).toContain("wal-corrupt");
  });

  test("a missing identity leaves the verification open", async () => {
    await restored();
    const encryption = { ...source.setting.encryption, identity: () => undefined };
    const result = await verify("checksums", {}, { ...source.setting, encryption });
    expect(codesOf(result)).toEqual(["not-verified"]);
    expect(result.verified).toEqual([]);
  });
});

describe("what only a recovery shows", () => {
  test("a check that is not met, and WAL that does not lead there", async () => {
    await restored();
    await source.server.query("INSERT INTO orders VALUES (4)");
    await source.backup("wal");
    const result = await verify("restore");
    expect(codesOf(result)).toEqual(["backup-corrupt"]);
    expect(result.findings[0]?.message).toContain("expected = 3, found 4");
    expect(result.verified).toEqual([]);
    await source.server.query("DELETE FROM orders WHERE id = 4");
    await restored();
  });
});

test("a backup that is much smaller than those before it", async () => {
  await restored();
  const manifests = await keysLike(/manifest\.json/);
  const document = await readJson(manifests[0] ?? "");
  for (const day of ["01", "02", "03"]) {
    const id = `202601${day}T120000Z-aaaaaa`;
    const objects = (document.objects as { storedBytes: number }[]).map((object) => ({
      ...object,
      storedBytes: object.storedBytes * 4,
    }));
    const older = {
      ...document,
      id,
      startedAt: `2026-01-${day}T12:00:00Z`,
      finishedAt: `2026-01-${day}T12:00:00Z`,
      objects,
    };
    await cp(join(folder, manifests[0] ?? "", ".."), join(folder, "db/backups", id), { recursive: true });
    await writeFile(join(folder, "db/backups", id, "manifest.json"), JSON.stringify(older));
  }
  expect(codesOf(await verify("inventory"))).toContain("size-anomaly");
});

test("retention that does not keep up is a warning", async () => {
  await restored();
  const retention = { keep: 3_600, minimum: 1 };
  const setting = { ...source.setting, config: { ...source.setting.config, retention } };
  const later = new Date(Date.now() + 5 * 86_400_000);
  const { findings } = await verify("inventory", { now: later }, setting);
  expect(findings.find(({ code }) => code === "retention-overdue")).toMatchObject({ severity: "warning" });
});

test("notes of what is proven are not written by the component itself", async () => {
  expect((await readVerifications(source.taking.store, "db")).size).toBe(0);
});

async function readJson(key: string): Promise<Record<string, unknown>> {
  const { readFile } = await import("node:fs/promises");
  return JSON.parse(await readFile(join(folder, key), "utf8")) as Record<string, unknown>;
}
