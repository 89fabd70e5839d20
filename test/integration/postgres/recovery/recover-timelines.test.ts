import { chownSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { historyKey } from "../../../../src/catalog/layout.ts";
import { DefectError } from "../../../../src/errors.ts";
import { byNight } from "../../../support/nightly.ts";
import { ask, openSource, type Source } from "../recovering.ts";

/** Ends recovery of a standby of nobody: the server goes on with a new timeline, as after a failover. */
async function failOver({ server }: Source): Promise<void> {
  await server.stop();
  const signal = join(server.dataDir, "standby.signal");
  writeFileSync(signal, "");
  if (server.user !== undefined) chownSync(signal, server.user.uid, server.user.gid);
  await server.restart({ hot_standby: "on" });
  await server.query("SELECT pg_promote()");
}

describe.each(byNight([14, 15, 18]))("PostgreSQL %i: a backup from before a failover", (major) => {
  test("is recovered along the new timeline, and not without its history file", async () => {
    await using source = await openSource({ postgres: { major } });
    const { server } = source;
    await server.query("CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id");
    await source.backup();
    await server.query("INSERT INTO orders SELECT generate_series(1001, 2000)");
    const before = await source.clock();
    await source.backup("wal");
    await failOver(source);
    await server.query("INSERT INTO orders SELECT generate_series(2001, 3000)");
    const after = await source.clock();
    await server.query("DELETE FROM orders");
    await source.backup("wal");

    for (const [target, rows] of [
      [before, "2000"],
      [after, "3000"],
      ["latest", "0"],
    ] as const) {
      const recovered = await source.recover(target);
      try {
        expect(await ask(recovered, "SELECT count(*) FROM orders")).toBe(rows);
        expect(recovered.reached.timeline).toBe(3);
      } finally {
        await recovered.dispose();
      }
    }

    // Without it nobody can tell where the new timeline's WAL belongs: ending before it would be a silent loss.
    await source.taking.store.delete([historyKey("db", 2)]);
    for (const target of [after, "latest"]) {
      await expect(source.recover(target)).rejects.toThrow(DefectError);
      await expect(source.recover(target)).rejects.toThrow(/00000002\.history is missing/);
    }
  });
});
