import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { filesBelow, openWorld } from "../support/world.ts";

test("a job streams WAL, is cancelled, is continued, and what it shipped passes a drill each time", async () => {
  await using world = await openWorld({ component: { freshness: { wal: "2s" } } });
  const { server } = world;
  await server.query("CREATE TABLE orders AS SELECT generate_series(1, 10) AS id");
  const refused = await world.run("backup", { "stream-for": "5m" });
  expect(refused.exitCode).toBe(1);
  expect(refused.errors[0]).toContain("stream-for goes with kind: wal alone");
  expect((await world.run("backup")).exitCode).toBe(0);

  const partials = async () =>
    (await filesBelow(world.storeDir)).filter((file) => file.endsWith(".partial.zst.age"));
  const stream = await world.start("backup", { kind: "wal", "stream-for": "10m" });
  while ((await partials()).length === 0) await sleep(50);
  const [first] = await partials();
  await server.query("INSERT INTO orders VALUES (11)");
  while ((await partials()).includes(first ?? "")) await sleep(50);
  stream.kill("SIGTERM");
  const cancelled = await stream.done;
  expect(cancelled.exitCode).toBe(1);
  expect(cancelled.visible).toMatch(/Streaming the WAL of db for 10 min, until .*Z, .*at least every 1 s/);
  expect(cancelled.visible).toMatch(/db: recoverable until \S+, \d+ segments? and .* of the next, lag/);
  expect(await partials()).toHaveLength(1);
  const drill = await world.run("pitr-drill", { scenario: "db-lost" });
  expect(drill.exitCode, drill.visible).toBe(0);

  const continued = await world.run("backup", { kind: "wal", "stream-for": "3s" });
  expect(continued.exitCode, continued.visible).toBe(0);
  expect(continued.outputs["recoverable-until"]).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
  expect(JSON.parse(continued.outputs["backups-json"] ?? "")[0].slot).toMatchObject({
    name: "drillbook",
    maxKeepBytes: null,
  });
  expect(continued.summary).toContain("drillbook");
  expect(await partials()).toEqual([]);
  const again = await world.run("pitr-drill", { scenario: "db-lost" });
  expect(again.exitCode, again.visible).toBe(0);
});
