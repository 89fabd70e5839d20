import { drillsPrefix } from "../catalog/layout.ts";
import type { Finding } from "../finding.ts";
import { type DrillRecord, drillRecord } from "../record.ts";
import { standings } from "../report/standing.ts";
import { allScenarios } from "../runbook/scenario.ts";
import type { RunbookConfig } from "../runbook/schema.ts";
import { readAll, type Store } from "../stores/store.ts";

/** So many of the newest records of a store are read at most: one hour's verification needs no years of drills. */
const MOST_RECORDS = 500;

/**
 * Scenarios that the runbook wants drilled and that had no passed drill in time, by the records in the stores. One that was
 * never drilled is a warning until the runbook's period has passed since the oldest backup.
 */
export async function overdueDrills(
  config: RunbookConfig,
  stores: readonly Store[],
  oldestBackup: Date | undefined,
  now: Date,
  signal: AbortSignal,
): Promise<Finding[]> {
  const periods = allScenarios(config).flatMap(({ scenario }) => scenario.every ?? []);
  if (periods.length === 0) return [];
  const since = now.getTime() - Math.max(...periods) * 1000;
  const records: DrillRecord[] = [];
  for (const store of stores) records.push(...(await recentRecords(store, since, signal)));
  const ours = records
    .filter((record) => record.service === config.service)
    .sort((a, b) => b.startedAt.localeCompare(a.startedAt));
  const age = oldestBackup === undefined ? 0 : (now.getTime() - oldestBackup.getTime()) / 1000;
  return standings(config, ours, true, now).flatMap(({ finding, drills, every }) => {
    if (finding === undefined) return [];
    const young = drills.length === 0 && every !== undefined && age <= every;
    return [{ ...finding, severity: young ? ("warning" as const) : finding.severity }];
  });
}

/** Ids begin with their time, so the newest are the last. A record that cannot be read proves nothing. */
async function recentRecords(store: Store, since: number, signal: AbortSignal): Promise<DrillRecord[]> {
  const keys: string[] = [];
  for await (const { key, modified } of store.list(drillsPrefix(), signal)) {
    if (!key.endsWith(".json") || modified.getTime() < since) continue;
    keys.push(key);
    if (keys.length > MOST_RECORDS) keys.shift();
  }
  const records = await Promise.all(
    keys.map(async (key) => {
      try {
        return drillRecord.parse(
          JSON.parse((await readAll(await store.get(key, { signal }))).toString("utf8")),
        );
      } catch (error) {
        if (signal.aborted) throw error;
        return undefined;
      }
    }),
  );
  return records.filter((record) => record !== undefined);
}
