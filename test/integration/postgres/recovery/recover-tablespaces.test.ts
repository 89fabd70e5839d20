import { chownSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { lsn, parseSegmentName, segmentStart } from "../../../../src/catalog/lsn.ts";
import { ToolError } from "../../../../src/errors.ts";
import { createdTablespaces } from "../../../../src/postgres/recovery/wal-tablespaces.ts";
import { byNight } from "../../../support/nightly.ts";
import { ask, openSource, roomContext, spiedStore } from "../recovering.ts";
import { detailsOf, keysOf, readSegment } from "../taking.ts";

test.each(byNight([14, 15, 18]))(
  "PostgreSQL %i: a tablespace made after the backup is never written to",
  async (major) => {
    const folder = mkdtempSync(join(tmpdir(), "drillbook-test-space-"));
    try {
      await using source = await openSource({ postgres: { major } });
      const { server } = source;
      if (server.user !== undefined) chownSync(folder, server.user.uid, server.user.gid);
      await server.query("CREATE TABLE orders AS SELECT generate_series(1, 200000) AS id");
      const first = await source.backup();
      const before = await source.clock();
      await source.backup("wal");
      await server.query("UPDATE orders SET id = id + 1");
      await server.query(`CREATE TABLESPACE late LOCATION '${folder}'`);
      await server.query("CREATE TABLE in_late TABLESPACE late AS SELECT generate_series(1, 100) AS id");
      await source.backup("wal");

      // The record is found exactly once in all of the WAL.
      const names = (await keysOf(source.taking.store, "db/wal/"))
        .filter((key) => key.endsWith(".json"))
        .map((key) => key.slice(-29, -5));
      const found: { name: string; folder: string }[] = [];
      for (const name of names) {
        const segment = await readSegment(source.taking.store, name);
        for (const path of createdTablespaces(segment, 0n)) found.push({ name, folder: path });
      }
      expect(found.map((each) => each.folder)).toEqual([folder]);
      const holder = found[0]?.name ?? "";
      const next = segmentStart((parseSegmentName(holder, 16 * 2 ** 20)?.number ?? 0) + 1, 16 * 2 ** 20);
      expect(createdTablespaces(await readSegment(source.taking.store, holder), next)).toEqual([]);

      await using context = await roomContext();
      const content = readdirSync(folder, { recursive: true }).length;
      const refused = await source.recover("latest", { context }).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(ToolError);
      expect((refused as Error).message).toContain(`creates a tablespace in ${folder}`);
      expect(readdirSync(folder, { recursive: true }).length).toBe(content);

      // On a machine without the folder PostgreSQL refuses by itself.
      renameSync(folder, `${folder}-away`);
      try {
        const failed = await source.recover("latest", { context }).catch((error: unknown) => error);
        expect(failed).toBeInstanceOf(ToolError);
        expect((failed as Error).message).toMatch(/creates a tablespace in .*take a new backup/);
      } finally {
        renameSync(`${folder}-away`, folder);
      }

      // Before it, and with a backup that holds it, all is well.
      const store = spiedStore(source.taking.store);
      const early = await source.recover(before, { context, setting: { ...source.setting, store } });
      expect(await ask(early, "SELECT count(*) FROM orders")).toBe("200000");
      await early.dispose();
      // The segment in which replay ends is read twice by the server, but fetched once.
      const fetched = store.reads.filter((key) => key.endsWith(".zst") && key.includes("/wal/"));
      expect(new Set(fetched).size).toBe(fetched.length);
      const second = await source.backup();
      expect(lsn(detailsOf(second).startLsn)).toBeGreaterThan(lsn(detailsOf(first).startLsn));
      const late = await source.recover("latest", { context });
      expect(await ask(late, "SELECT count(*) FROM in_late")).toBe("100");
      await late.dispose();
      expect(readdirSync(folder, { recursive: true }).length).toBe(content);
      expect(context.remains()).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
