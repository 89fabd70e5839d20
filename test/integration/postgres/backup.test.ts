import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listBackups } from "../../../src/catalog/backups.ts";
import { readHeartbeat } from "../../../src/catalog/heartbeat.ts";
import { lsn } from "../../../src/catalog/lsn.ts";
import { chainFrom, listSegments, newestRestorePoint } from "../../../src/catalog/wal.ts";
import { backupPostgres } from "../../../src/postgres/backup.ts";
import { startPostgres, type TestPostgres } from "../../support/postgres.ts";
import { detailsOf, readArchives, readServerManifest, taking } from "./taking.ts";

describe.each([15, 18])("a full backup of PostgreSQL %i", (major) => {
  let server: TestPostgres;

  beforeAll(async () => {
    server = await startPostgres({ major });
    await server.query(
      "CREATE TABLE orders AS SELECT g AS id, repeat('x', 200) AS note FROM generate_series(1, 20000) g",
    );
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  test("holds every file of the server's own manifest and the WAL that makes it consistent", async () => {
    await using here = await taking({ url: server.url, config: { checks: [{ rows: "orders" }] } });
    const outcome = await backupPostgres(here.setting, "full", here.context);
    const [listed] = await listBackups(here.store, "db");
    expect(listed).toEqual(outcome.manifest);
    const details = detailsOf(listed);
    console.log(details, here.context.lines);
    if (listed === undefined) throw new Error("no backup");
    const { files } = await readArchives(here.store, listed);
    const expected = await readServerManifest(here.store, listed);
    for (const file of expected) {
      expect([file.Path, files.get(file.Path)]).toEqual([
        file.Path,
        { bytes: file.Size, sha256: file.Checksum },
      ]);
    }
    expect(expected.length).toBeGreaterThan(500);
    const inventory = await listSegments(here.store, "db", details.walSegmentBytes);
    const chain = chainFrom(inventory, lsn(details.startLsn), details.timeline);
    const newest = await newestRestorePoint(here.store, "db", chain);
    expect(newest?.point).toEqual(details.restorePoint);
    expect((await readHeartbeat(here.store, "db"))?.backupId).toBe(listed.id);
  });
});
