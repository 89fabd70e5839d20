import { expect, test } from "vitest";
import type { BackupManifest } from "../../../src/catalog/manifest.ts";
import { selectExpired } from "../../../src/catalog/retention.ts";

const DAY = 86_400;
const NOW = new Date("2026-02-01T00:00:00Z");

function taken(daysAgo: number): BackupManifest {
  const at = new Date(NOW.getTime() - daysAgo * DAY * 1000).toISOString();
  return {
    schema: "drillbook/backup-manifest/v1",
    id: `${daysAgo} days`,
    service: "shop",
    component: "db",
    type: "postgres",
    method: "physical",
    startedAt: at,
    finishedAt: at,
    objects: [],
    details: {},
  };
}

function expired(days: readonly number[], keepDays: number, minimum: number): string[] {
  return selectExpired(days.map(taken), { keepSeconds: keepDays * DAY, minimum }, NOW).map(
    (backup) => backup.id,
  );
}

test.each([
  { days: [40, 35, 20, 1], keepDays: 30, minimum: 2, gone: ["40 days", "35 days"] },
  { days: [40, 35, 20, 1], keepDays: 30, minimum: 3, gone: ["40 days"] },
  { days: [40, 35], keepDays: 30, minimum: 2, gone: [] },
  { days: [40, 35], keepDays: 30, minimum: 1, gone: ["40 days"] },
  { days: [40], keepDays: 30, minimum: 0, gone: [] },
  { days: [20, 1], keepDays: 30, minimum: 1, gone: [] },
  { days: [], keepDays: 30, minimum: 1, gone: [] },
])(
  "of backups $days days old, keep $keepDays and at least $minimum lets $gone go",
  ({ days, keepDays, minimum, gone }) => {
    expect(expired(days, keepDays, minimum)).toEqual(gone);
  },
);
