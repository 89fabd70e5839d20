import { describe, expect, test } from "vitest";
import type { BackupManifest } from "../../../src/catalog/manifest.ts";
import { UserError } from "../../../src/errors.ts";
import { backupPostgres } from "../../../src/postgres/backup.ts";
import type { CheckResult } from "../../../src/record.ts";
import { formatMicros, parseTime } from "../../../src/targets.ts";
import { openSource, type Source, withConfig } from "./recovering.ts";
import { detailsOf, settingOf } from "./taking.ts";

async function markerOf(source: Source, target: string): Promise<CheckResult> {
  const recovered = await source.recover(target);
  try {
    const results = await recovered.check();
    expect(results.map(({ check }) => check)).toEqual(["marker"]);
    return results[0] ?? expect.fail("There is no result.");
  } finally {
    await recovered.dispose();
  }
}

describe("a marker", () => {
  test("shows in the data that the commit before a point is there and the one after it is not", async () => {
    await using source = await openSource({ config: { marker: true } });
    const first = await source.backup();
    await source.server.query("CREATE TABLE t AS SELECT 1 AS one");
    const between = await source.clock();
    const name = await source.server.query("SELECT pg_create_restore_point('by-hand')");
    expect(name.length).toBe(1);
    await source.backup("wal");

    const latest = await markerOf(source, "latest");
    expect(latest).toMatchObject({ component: "db", status: "passed" });
    expect(latest.actual).toMatch(/^the mark before drillbook-\d{8}T\d{6}Z-[0-9a-f]{6}-marked, written at 2/);
    expect(latest.actual).toContain(latest.expected);

    const { point } = restorePointOf(first);
    const early = await markerOf(source, between);
    expect(early).toMatchObject({ status: "passed" });
    expect(early.actual).toContain(`the mark after ${point}`);
    expect(await markerOf(source, "name:by-hand")).toMatchObject({ status: "passed", actual: early.actual });
    // At the moment that the first run stands for, its own point is still ahead.
    const own = await markerOf(source, formatMicros(parseTime(restorePointOf(first).time) ?? 0n));
    expect(own).toMatchObject({ status: "passed", expected: `no mark of ${point}` });
    expect(own.actual).toContain(`the mark before ${point}`);
  });

  test("fails where the commit before the point is missing, or one after it is there", async () => {
    await using source = await openSource({ config: { marker: true } });
    await source.backup();
    await source.server.query("CREATE RULE lost AS ON UPDATE TO drillbook.marker DO INSTEAD NOTHING");
    await source.backup("wal");
    const lost = await markerOf(source, "latest");
    expect(lost.status).toBe("failed");
    expect(lost.actual).toMatch(/^the mark after drillbook-/);

    await source.server.query("DROP RULE lost ON drillbook.marker");
    await source.server.query(
      "UPDATE drillbook.marker SET point = 'drillbook-20990101T000000Z-ffffff-marked'",
    );
    const ahead = await source.clock();
    await source.backup("wal");
    expect(await markerOf(source, ahead)).toMatchObject({
      status: "failed",
      actual: expect.stringContaining("20990101"),
    });

    await source.server.query("DROP TABLE drillbook.marker");
    const gone = await source.clock();
    await source.backup("wal");
    expect(await markerOf(source, gone)).toMatchObject({
      status: "failed",
      actual: expect.stringContaining("no table drillbook.marker"),
    });
  });

  test("is unverified where no run was marked", async () => {
    await using source = await openSource();
    await source.backup();
    const marked = { ...source, setting: withConfig(source, { marker: true }) };
    const recovered = await source.recover("latest", { setting: marked.setting });
    try {
      expect(await recovered.check()).toMatchObject([{ check: "marker", status: "unverified" }]);
    } finally {
      await recovered.dispose();
    }
  });

  test("needs a role that may write it, and says what to run", async () => {
    await using source = await openSource({ config: { marker: true } });
    const { server, taking } = source;
    await server.query("CREATE ROLE archiver LOGIN REPLICATION PASSWORD 'archiver'");
    await server.query(
      "GRANT EXECUTE ON FUNCTION pg_create_restore_point(text), pg_switch_wal() TO archiver",
    );
    const url = new URL(server.url);
    url.username = "archiver";
    url.password = "archiver";
    const setting = settingOf(taking.store, { url: url.href, config: { marker: true } });
    const refusal = await backupPostgres(setting, "full", taking.context).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(UserError);
    const [, sql = ""] = /Run there as its owner: (.*)$/.exec(String((refusal as Error).message)) ?? [];
    for (const statement of sql.split("; ")) await server.query(statement);
    await backupPostgres(setting, "full", taking.context);
    const [row] = await server.query<{ side: string }>("SELECT side FROM drillbook.marker");
    expect(row?.side).toBe("after");
    await server.query("REVOKE UPDATE ON drillbook.marker FROM archiver");
    await expect(backupPostgres(setting, "wal", taking.context)).rejects.toThrow(/GRANT SELECT, UPDATE/);
  });
});

function restorePointOf(manifest: BackupManifest | undefined): { point: string; time: string } {
  const { restorePoint } = detailsOf(manifest);
  return { point: restorePoint?.name ?? "", time: restorePoint?.time ?? "" };
}
