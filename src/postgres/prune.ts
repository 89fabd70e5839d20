import { manifestKey } from "../catalog/layout.ts";
import { takeLease } from "../catalog/lease.ts";
import { lsn, segmentAt } from "../catalog/lsn.ts";
import type { BackupManifest } from "../catalog/manifest.ts";
import { removeOrphans } from "../catalog/orphans.ts";
import { type Pruned, prune, type WalStart } from "../catalog/prune.ts";
import type { ComponentSetting, Note, PruneOptions, PruneOutcome } from "../component.ts";
import type { Context } from "../context.ts";
import type { PostgresConfig } from "./config.ts";
import { readDetails } from "./details.ts";
import { leaseRequest } from "./lease.ts";

/** Deletes backups and WAL that the config's `retention` no longer asks for, and says in the log what and why. */
export async function prunePostgres(
  setting: ComponentSetting<PostgresConfig>,
  context: Context,
  options: PruneOptions = {},
): Promise<PruneOutcome> {
  const { retention } = setting.config;
  if (retention === undefined) return { backups: [], notes: [] };
  if (options.dryRun) return await pruneNow(setting, retention, true, context);
  const lease = await takeLease(leaseRequest(setting, "prune", options), context);
  if ("who" in lease) {
    const text = `retention deleted nothing this time, because ${lease.who}, holds the lease; the next full backup tries again.`;
    context.log.warning(`${setting.name}: ${text}`);
    return { backups: [], notes: [{ severity: "warning", text }] };
  }
  try {
    await removeOrphans(lease, setting.name, context);
    return await pruneNow({ ...setting, store: lease.store }, retention, false, context);
  } finally {
    await lease.release();
  }
}

async function pruneNow(
  setting: ComponentSetting<PostgresConfig>,
  retention: { readonly keep: number; readonly minimum: number },
  dryRun: boolean,
  context: Context,
): Promise<PruneOutcome> {
  const { name, store } = setting;
  const request = {
    policy: { keepSeconds: retention.keep, minimum: retention.minimum },
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
