import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listBackupIds } from "../../../../src/catalog/backups.ts";
import { readHeartbeat } from "../../../../src/catalog/heartbeat.ts";
import { segmentKey, sidecarKey } from "../../../../src/catalog/layout.ts";
import { DefectError, ToolError } from "../../../../src/errors.ts";
import { prunePostgres } from "../../../../src/postgres/prune.ts";
import type { FaultRule } from "../../../support/faulty-proxy.ts";
import { ask } from "../recovering.ts";
import { keysOf } from "../taking.ts";
import {
  addOrders,
  auditPlace,
  CONTENT,
  contentOf,
  type FaultyPlace,
  type FaultySource,
  openFaultySource,
} from "./faulty-source.ts";

/** Every listing is as it was before the last changes, which is all that a store with lagging listings promises. */
const STALE: readonly FaultRule[] = [{ fault: "stale-list", rate: 1 }];

let source: FaultySource;

beforeAll(async () => {
  source = await openFaultySource();
});
afterAll(() => source[Symbol.asyncDispose]());

async function expectLatest(place: FaultyPlace): Promise<void> {
  const expected = await contentOf(source.server);
  const recovered = await place.recover();
  try {
    expect(await ask(recovered, CONTENT)).toBe(expected);
  } finally {
    await recovered.dispose();
  }
}

describe("where listings lag behind", () => {
  test("backups and runs of WAL succeed, continue the chain, and are recovered to their very end", async () => {
    await using place = await source.open({ seed: 1, rules: STALE });
    for (const kind of ["full", "wal", "wal", "full", "wal"] as const) {
      await addOrders(source.server);
      // The server keeps no WAL before the slot, so a chain that seems to end earlier cannot be continued.
      await source.server.query("CHECKPOINT");
      await place.backup(kind);
    }
    await expectLatest(place);
    expect(place.proxy.counts["stale-list"]).toBeGreaterThan(5);
    expect(place.context.lines.filter((line) => line.startsWith("warning"))).toEqual([]);
    expect(await auditPlace(place)).toBeGreaterThan(5);
  });

  test("a segment that is gone is still a defect that names it", async () => {
    await using place = await source.open({ seed: 2 });
    await place.backup("full");
    await addOrders(source.server);
    await place.backup("wal");
    const last = (await readHeartbeat(place.direct, "db"))?.lastSegment ?? "";
    const key = segmentKey("db", last, false);
    await place.direct.delete([key]);
    place.proxy.rules = STALE;
    const failure = place.recover();
    await expect(failure).rejects.toThrow(DefectError);
    await expect(failure).rejects.toMatchObject({ subject: place.direct.describe(key) });
    expect(place.proxy.counts["stale-list"]).toBeGreaterThan(0);
    await place.direct.delete([sidecarKey("db", last)]);
  });

  test("a failure after the manifest was written removes nothing of the backup", async () => {
    await using place = await source.open({ seed: 3, withinMs: 200 });
    await place.backup("full");
    place.proxy.rules = [
      ...STALE,
      { fault: "error", rate: 1, where: (method, url) => method === "PUT" && url.includes("heartbeat.json") },
    ];
    await expect(place.backup("full")).rejects.toThrow(ToolError);
    place.proxy.rules = [];
    expect((await listBackupIds(place.direct, "db")).length).toBe(2);
    await auditPlace(place);
  });

  test("retention deletes nothing that is needed", async () => {
    await using place = await source.open({ seed: 4 });
    for (const kind of ["full", "full", "wal", "full", "wal"] as const) {
      await addOrders(source.server);
      await place.backup(kind);
    }
    const before = (await keysOf(place.direct)).length;
    place.proxy.rules = STALE;
    const config = { ...place.setting.config, retention: { keep: 1, minimum: 1 } };
    const later = { ...place.context, now: () => new Date(Date.now() + 86_400_000) };
    await prunePostgres({ ...place.setting, config }, later);
    await prunePostgres({ ...place.setting, config }, later);
    expect(place.proxy.counts["stale-list"]).toBeGreaterThan(0);
    expect((await keysOf(place.direct)).length).toBeLessThan(before);
    await expectLatest(place);
    place.proxy.rules = [];
    await auditPlace(place);
    await expectLatest(place);
  });
});
