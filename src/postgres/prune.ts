import { manifestKey } from "../catalog/layout.ts";
import { lsn, segmentAt } from "../catalog/lsn.ts";
import { prune } from "../catalog/retention.ts";
import type { ComponentSetting } from "../component.ts";
import type { Context } from "../context.ts";
import { formatDuration } from "../values.ts";
import type { PostgresConfig } from "./config.ts";
import { readDetails } from "./details.ts";

/** Deletes backups and WAL that the config's `retention` no longer asks for; the ids of the deleted backups. */
export async function prunePostgres(
  setting: ComponentSetting<PostgresConfig>,
  context: Context,
): Promise<readonly string[]> {
  const { config, name, store } = setting;
  if (config.retention === undefined) return [];
  const policy = { keepSeconds: config.retention.keep, minimum: config.retention.minimum };
  const pruned = await prune(
    store,
    name,
    policy,
    context.now(),
    (manifest) => {
      const details = readDetails(manifest, store.describe(manifestKey(name, manifest.id)));
      const { timeline, startLsn, walSegmentBytes } = details;
      return { timeline, number: segmentAt(lsn(startLsn), walSegmentBytes), segmentBytes: walSegmentBytes };
    },
    context.signal,
  );
  for (const id of pruned.backups) {
    context.log.info(
      `Retention: deleted the backup ${id}, which is older than ${formatDuration(policy.keepSeconds)}; at least ${policy.minimum} stay.`,
    );
  }
  for (const id of pruned.leftovers) {
    context.log.info(`Retention: deleted the parts of ${id}, a backup that was never finished.`);
  }
  if (pruned.segments > 0) {
    context.log.info(
      `Retention: deleted ${pruned.segments} WAL segments from before the oldest backup that stays.`,
    );
  }
  return pruned.backups;
}
