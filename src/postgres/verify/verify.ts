import { readHeartbeat } from "../../catalog/heartbeat.ts";
import type { ComponentSetting, Verification, VerifyRequest } from "../../component.ts";
import type { Context } from "../../context.ts";
import { AbortedError, DefectError, messageOf } from "../../errors.ts";
import type { PostgresConfig } from "../config.ts";
import { inspectBackups } from "./backups.ts";
import { readEverything } from "./checksums.ts";
import { inspectFreshness, inspectRetention, inspectSizes } from "./freshness.ts";
import { inspectKey } from "./key.ts";
import { tryRestore } from "./restore.ts";
import { inspectSlot } from "./slot.ts";
import { collectFindings, type Subject } from "./subject.ts";
import { inspectWal } from "./wal.ts";

const NOTHING = { objects: 0, bytes: 0 };

/**
 * Looks whether a cluster's backups and WAL can be trusted. What is wrong is a finding, also a store that does not answer
 * (`not-verified`); throws only when it was stopped.
 */
export async function verifyPostgres(
  setting: ComponentSetting<PostgresConfig>,
  request: VerifyRequest,
  context: Context,
): Promise<Verification> {
  const findings = collectFindings(setting.name);
  try {
    return await verifyAll(setting, request, context, findings);
  } catch (error) {
    if (context.signal.aborted || error instanceof AbortedError) throw new AbortedError();
    if (error instanceof DefectError)
      findings.error(
        "backup-corrupt",
        error.subject,
        error.message,
        "Remove the object: the next run writes it anew.",
      );
    else {
      const message = `${setting.name} could not be verified: ${messageOf(error)}`;
      findings.error("not-verified", setting.name, message, "Mend what the message says, and verify again.");
    }
    return {
      findings: findings.all(),
      ...{ window: null, rpoSeconds: null, backups: 0, newestBackup: null, heartbeat: null },
      ...{ held: NOTHING, read: NOTHING, verified: [], unchecked: findings.skipped() },
    };
  }
}

async function verifyAll(
  setting: ComponentSetting<PostgresConfig>,
  request: VerifyRequest,
  context: Context,
  findings: Subject["findings"],
): Promise<Verification> {
  // Before anything is listed: what it names must be there, also while a run goes on.
  const heartbeat = await readHeartbeat(setting.store, setting.name, context.signal).catch(
    (error: unknown) => {
      if (!(error instanceof DefectError)) throw error;
      const remedy = "Run the backup action, which writes it anew, and find out what changed it.";
      findings.error("backup-corrupt", error.subject, error.message, remedy);
      return undefined;
    },
  );
  const subject: Subject = { setting, request, context, findings, heartbeat };
  const { backups, objects, bytes } = await inspectBackups(subject);
  const { inventory, point, oldest } = await inspectWal(subject, backups);
  const rpoSeconds = inspectFreshness(subject, backups, point);
  inspectSizes(subject, backups);
  inspectRetention(subject, backups);
  const newest = backups.at(-1);
  if (newest !== undefined) await inspectKey(subject, newest);
  await inspectSlot(subject);
  const held = { objects: objects + inventory.objects, bytes: bytes + inventory.storedBytes };
  const { read, verified } = await lookDeeper(subject, backups, held.bytes);
  return {
    findings: findings.all(),
    window:
      point === undefined || oldest === undefined ? null : { from: oldest.details.stopTime, to: point.time },
    rpoSeconds,
    backups: backups.length,
    newestBackup: newest?.manifest.id ?? null,
    heartbeat: heartbeat?.finishedAt ?? null,
    held,
    read,
    verified,
    unchecked: findings.skipped(),
  };
}

async function lookDeeper(
  subject: Subject,
  backups: Awaited<ReturnType<typeof inspectBackups>>["backups"],
  heldBytes: number,
): Promise<Pick<Verification, "read"> & { verified: readonly string[] }> {
  const { request, findings } = subject;
  if (request.depth === "inventory") return { read: NOTHING, verified: [] };
  if (request.depth === "restore") {
    const id = await tryRestore(subject);
    return { read: NOTHING, verified: id === undefined ? [] : [id] };
  }
  const { sound, ...read } = await readEverything(subject, backups, heldBytes);
  // A backup whose WAL is gone or altered is none.
  const walIsSound =
    !findings.has("wal-gap") && !findings.has("wal-corrupt") && !findings.has("not-verified");
  return { read, verified: walIsSound ? [...sound] : [] };
}
