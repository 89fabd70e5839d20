import { manifestKey } from "../catalog/layout.ts";
import { lsn, segmentAt } from "../catalog/lsn.ts";
import type { BackupManifest } from "../catalog/manifest.ts";
import { type Pruned, prune, type WalStart } from "../catalog/prune.ts";
import type { ComponentSetting, Note, PruneOptions, PruneOutcome } from "../component.ts";
import type { Context } from "../context.ts";
import type { PostgresConfig } from "./config.ts";
import { readDetails } from "./details.ts";

/** Deletes backups and WAL that the config's `retention` no longer asks for, and says in the log what and why. */
export async function prunePostgres(
  setting: ComponentSetting<PostgresConfig>,
  context: Context,
  options: PruneOptions = {},
): Promise<PruneOutcome> {
  const { config, name, store } = setting;
  if (config.retention === undefined) return { backups: [], notes: [] };
  const dryRun = options.dryRun ?? false;
  const request = {
    policy: { keepSeconds: config.retention.keep, minimum: config.retention.minimum },
    now: context.now(),
    walStart: (manifest: BackupManifest) => walStart(setting, manifest),
    dryRun,
  };
  const pruned = await prune(store, name, request, context.signal);
  const notes = notesOf(pruned);
  say(pruned, dryRun, context);
  for (const { severity, text } of notes) {
    if (severity === "warning") context.log.warning(`${name}: ${text}`);
    else context.log.info(`Retention: ${text}`);
  }
  return { backups: dryRun ? [] : pruned.backups, notes };
}

function walStart({ name, store }: ComponentSetting<PostgresConfig>, manifest: BackupManifest): WalStart {
  const details = readDetails(manifest, store.describe(manifestKey(name, manifest.id)));
  const { timeline, startLsn, walSegmentBytes } = details;
  return { timeline, number: segmentAt(lsn(startLsn), walSegmentBytes), segmentBytes: walSegmentBytes };
}

function say({ decisions, backups, segments }: Pruned, dryRun: boolean, { log }: Context): void {
  const deleted = dryRun ? "would delete" : "deleted";
  for (const { backup, verdict, why } of decisions) {
    if (backups.includes(backup.id)) log.info(`Retention: ${deleted} the backup ${backup.id}: ${why}.`);
    else if (verdict === "stays") log.info(`Retention: the backup ${backup.id} stays ${why}.`);
  }
  if (segments > 0) {
    log.info(
      `Retention: ${deleted} ${segments} WAL segments from before the oldest backup that stays: nothing can be recovered with them.`,
    );
  }
  if (dryRun && backups.length === 0 && segments === 0) log.info("Retention: would delete nothing.");
}

/** What somebody can do something about. */
function notesOf({ decisions, refusals }: Pruned): Note[] {
  const waiting = decisions.filter(({ verdict }) => verdict === "waits");
  return [
    ...waiting.map(
      ({ backup, why }): Note => ({
        severity: "notice",
        text: `the backup ${backup.id} stays ${why}.`,
      }),
    ),
    ...refusals.map((text): Note => ({ severity: "warning", text })),
  ];
}
