import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { formatLsn, lsn, segmentBefore, segmentName } from "../../../../src/catalog/lsn.ts";
import { holdsPoint, restorePointsIn } from "../../../../src/postgres/wal/restore-points.ts";
import { startPostgres } from "../../../support/postgres.ts";

const MIB = 2 ** 20;

test.each([14, 18])(
  "a restore point of PostgreSQL %i is found where it is, and nowhere else",
  async (major) => {
    await using server = await startPostgres({ major, initdbArgs: ["--wal-segsize=1"] });
    const client = await server.client();
    const points: { name: string; lsn: string }[] = [];
    // Enough for ends at and around the borders of pages, and of a segment.
    for (let number = 0; number < 12_000; number += 1) {
      const name = `point-${number}`;
      const { rows } = await client.query<{ lsn: string }>("SELECT pg_create_restore_point($1) AS lsn", [
        name,
      ]);
      points.push({ name, lsn: rows[0]?.lsn ?? "" });
    }
    // Writes it out; a checkpoint would remove it.
    await client.query("SELECT pg_switch_wal()");
    await client.query("CREATE TABLE flushed AS SELECT 1");
    const files = new Map<number, Buffer>();
    const segmentOf = (end: bigint): Buffer => {
      const number = segmentBefore(end, MIB);
      const path = join(server.dataDir, "pg_wal", segmentName(1, number, MIB));
      const content = files.get(number) ?? readFileSync(path);
      files.set(number, content);
      return content;
    };
    const recent = points.slice(-9_000);
    expect(new Set(recent.map((point) => segmentBefore(lsn(point.lsn), MIB))).size).toBeGreaterThan(1);
    const found = new Set(
      [...new Set(recent.map((point) => segmentOf(lsn(point.lsn))))].flatMap((segment) =>
        restorePointsIn(segment).map((point) => `${point.name} ${point.lsn}`),
      ),
    );
    const missed = recent.filter((point) => !found.has(`${point.name} ${point.lsn}`));
    // Those whose records lie in two segments.
    expect(missed.length).toBeLessThan(4);
    for (const one of missed) expect(holdsPoint(segmentOf(lsn(one.lsn)), one)).toBe(true);

    const point = recent[100] ?? { name: "", lsn: "0/1" };
    const shifted = formatLsn(lsn(point.lsn) + 208n);
    expect(holdsPoint(segmentOf(lsn(point.lsn)), point)).toBe(true);
    expect(holdsPoint(segmentOf(lsn(point.lsn)), { ...point, name: "another" })).toBe(false);
    expect(holdsPoint(segmentOf(lsn(shifted)), { name: point.name, lsn: shifted })).toBe(false);
  },
);
