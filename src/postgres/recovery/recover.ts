import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { manifestKey, timelineName } from "../../catalog/layout.ts";
import { formatLsn, lsn } from "../../catalog/lsn.ts";
import { parseHistory } from "../../catalog/timelines.ts";
import type { ComponentSetting, Recovered, RecoveryRequest } from "../../component.ts";
import type { Context } from "../../context.ts";
import { AbortedError, codeOf, DefectError, ToolError } from "../../errors.ts";
import type { Phase, RecoveryPoint } from "../../record.ts";
import { parseTime } from "../../targets.ts";
import { checksOf } from "../checks/recovered-checks.ts";
import { openAnySession, type ScratchAddress, type Session } from "../checks/session.ts";
import type { PostgresConfig } from "../config.ts";
import { describeGoal } from "../goal.ts";
import { accessOf, createTemporaryRole, makeTemporaryRole, type TemporaryRole } from "../scratch/access.ts";
import { chooseRuntime } from "../scratch/choose-runtime.ts";
import { findRunUser } from "../scratch/run-user.ts";
import { createScratch, type Scratch } from "../scratch/scratch.ts";
import type { ServerRuntime } from "../scratch/server.ts";
import { neededBytes, requireFreeDisk } from "./disk.ts";
import { restoreDataFolder } from "./fetch-data.ts";
import { historyFile, segmentFile } from "./fetch-wal.ts";
import { planRecovery, type RecoveryPlan } from "./plan.ts";
import { proveStop } from "./recovery-proof.ts";
import { type Replayed, replay } from "./replay.ts";
import { startWalWindow, WINDOW_SEGMENTS } from "./wal-window.ts";

/**
 * Recovers a backup into a scratch server on this machine and proves that it stands exactly at the target. Everything
 * that can be refused is refused before the first byte is fetched. Throws a {@link DefectError} when what lies in the
 * store is to blame, else a UserError or ToolError; then nothing is left running and no file is left.
 */
export async function recoverPostgres(
  setting: ComponentSetting<PostgresConfig>,
  request: RecoveryRequest,
  context: Context,
): Promise<Recovered> {
  const phases: Phase[] = [];
  const startedAt = performance.now();
  let scratch: Scratch | undefined;
  try {
    const extra = extraSettings(setting.config);
    const plan = await planRecovery(setting, request, context.signal);
    if (plan.warning !== undefined) context.log.warning(plan.warning);
    scratch = await createScratch(await findRunUser(), context);
    const { details, segments } = plan;
    const runtime = await runtimeOf(setting, plan, scratch, context);
    const needed = neededBytes(details.dataBytes, segments, details.walSegmentBytes, WINDOW_SEGMENTS);
    await requireFreeDisk(scratch.root, needed);
    context.log.info(describePlan(setting.name, plan));
    phases.push({ name: "plan", seconds: (performance.now() - startedAt) / 1000 });
    return await recoverInto(scratch, { setting, plan, runtime, extra, phases, context });
  } catch (error) {
    await scratch?.remove();
    if (context.signal.aborted) throw new AbortedError();
    throw diskSentence(error, scratch?.root ?? context.workDir);
  }
}

interface Work {
  readonly setting: ComponentSetting<PostgresConfig>;
  readonly plan: RecoveryPlan;
  readonly runtime: ServerRuntime;
  readonly extra: Readonly<Record<string, string>>;
  readonly phases: Phase[];
  readonly context: Context;
}

async function recoverInto(scratch: Scratch, work: Work): Promise<Recovered> {
  const { setting, plan, phases, context } = work;
  const role = makeTemporaryRole(context);
  const window = await startWalWindow({
    scratch,
    segments: plan.segments.map((segment) => segmentFile(setting, segment, plan.details)),
    segmentBytes: plan.details.walSegmentBytes,
    histories: plan.histories.map((timeline) => historyFile(setting, timeline)),
    context,
  });
  let replayed: Replayed | undefined;
  try {
    const fetched = performance.now();
    const data = await restoreDataFolder(setting, plan.manifest, plan.details, scratch, context);
    phases.push({ name: "fetch", seconds: (performance.now() - fetched) / 1000, bytes: data.bytes });
    if (data.unverifiedFiles > 0) {
      context.log.warning(
        `${data.unverifiedFiles} files of the backup have no checksum, so only their sizes were compared: take backups with manifest checksums.`,
      );
    }
    replayed = await replay({ ...work, scratch, window, role: role.name });
    await window.stop();
    phases.push({ name: "start", seconds: replayed.startSeconds });
    phases.push({ name: "replay", seconds: replayed.replaySeconds, bytes: window.bytes() });
    return await present(scratch, work, replayed, role);
  } catch (error) {
    await replayed?.server.stop();
    throw error;
  } finally {
    await window.stop();
  }
}

/** Proves where the server stands, and hands it over. */
async function present(
  scratch: Scratch,
  { setting, plan, runtime, phases, context }: Work,
  { server, port, log }: Replayed,
  role: TemporaryRole,
): Promise<Recovered> {
  const { details, manifest } = plan;
  const subject = setting.store.describe(manifestKey(setting.name, manifest.id));
  const proof = proveStop(plan.goal, log.state, subject);
  const address: ScratchAddress = {
    socket: scratch.socket,
    port,
    user: details.bootstrapSuperuser,
    major: details.major,
  };
  const session = await openAnySession(address, [details.database, "postgres", "template1"], context.signal);
  let reached: RecoveryPoint;
  let version: string;
  try {
    const timeline = await requireSameCluster(session, details.systemIdentifier, subject);
    version = (await session.query("SELECT current_setting('server_version')"))[0]?.[0] ?? "";
    reached = {
      lsn: await reachedLsn(scratch, timeline, plan, subject),
      timeline,
      ...proof,
      completeUntil: details.startTime,
    };
    // 14 does not record the library's version with a database.
    if (details.major >= 15) await warnOfCollations(session, context);
    await createTemporaryRole(session, role);
  } finally {
    await session.close();
  }
  context.log.info(describeReached(setting.name, reached));

  let disposed: Promise<void> | undefined;
  const onAbort = () => void dispose().catch(() => undefined);
  context.signal.addEventListener("abort", onAbort, { once: true });

  async function end(): Promise<void> {
    await server.stop();
    await scratch.remove();
  }

  async function keepRunning(): Promise<void> {
    server.release();
    await scratch.watchdog.dismiss();
    const connect = `psql -h ${scratch.socket} -p ${port} -U ${address.user} -d ${details.database}`;
    context.log.info(
      `The recovered server keeps running as ${server.title}: connect with "${connect}", stop it with "${server.stopCommand}", then remove ${scratch.root}.`,
    );
  }

  async function dispose(options: { readonly keep?: boolean } = {}): Promise<void> {
    context.signal.removeEventListener("abort", onAbort);
    const keep = options.keep === true && !context.signal.aborted && server.ending() === undefined;
    disposed ??= keep ? keepRunning() : end();
    await disposed;
  }

  return {
    backupId: manifest.id,
    target: describeGoal(plan.goal),
    reached,
    phases,
    access: accessOf(role, port, details.database),
    facts: {
      postgres: version,
      ...(runtime.label === undefined ? {} : { runtime: runtime.label }),
      ...switchedOff(setting.config),
    },
    ...checksOf({
      setting,
      manifest,
      details,
      address,
      momentMicros: momentOf(plan, reached),
      reachedLsn: lsn(reached.lsn),
      chain: plan.chain,
      temporaryRole: role.name,
      context,
    }),
    dispose,
  };
}

/** The server's timeline. Throws a {@link DefectError} when it is another cluster than the backup's. */
async function requireSameCluster(
  session: Session,
  systemIdentifier: string,
  subject: string,
): Promise<number> {
  const [row] = await session.query(
    "SELECT pg_is_in_recovery()::text, (pg_control_system()).system_identifier::text, left(pg_walfile_name(pg_current_wal_lsn()), 8)",
  );
  const [inRecovery, identifier, timeline] = row ?? [];
  if (inRecovery !== "false")
    throw new ToolError("The scratch server takes connections but is still in recovery.");
  if (identifier !== systemIdentifier) {
    throw new DefectError(
      subject,
      `${subject} is of the cluster ${systemIdentifier}, but the recovered server is ${identifier}.`,
    );
  }
  return Number.parseInt(timeline ?? "", 16);
}

/** Indexes on text that were sorted by another version of the library may miss rows on this machine. */
async function warnOfCollations(session: Session, context: Context): Promise<void> {
  const rows = await session.query(
    // Some C libraries, such as that of Alpine's images, tell no version.
    `SELECT datname FROM pg_database
     WHERE datcollversion IS NOT NULL AND datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid)`,
  );
  if (rows.length === 0) return;
  const names = rows.map(([name]) => name).join(", ");
  context.log.warning(
    `The scratch server sorts text by another version of the collation library than the source of ${names}: checks that use indexes on text may miss rows.`,
  );
}

/** The end of the last record that was replayed: where the new timeline left the old one, by its history file. */
async function reachedLsn(
  scratch: Scratch,
  timeline: number,
  { timeline: parent, details, goal }: RecoveryPlan,
  subject: string,
): Promise<string> {
  const file = join(scratch.data, "pg_wal", `${timelineName(timeline)}.history`);
  const left = parseHistory(timeline, await readFile(file, "utf8"))?.ancestors.at(-1);
  // A standby says where it was after the backup, which may be later than what its own files need: there the server's
  // word that it is consistent counts, and any other goal lies behind that position.
  const least = details.fromStandby && goal.kind === "immediate" ? details.startLsn : details.stopLsn;
  if (left?.timeline !== parent || left.end < lsn(least)) {
    throw new DefectError(subject, `PostgreSQL was promoted before the end of the backup ${subject}.`);
  }
  // A name can be given twice, and replay ends at the first of them.
  if (goal.kind === "restore-point" && left.end !== goal.lsn) {
    throw new DefectError(
      subject,
      `PostgreSQL met the restore point ${goal.name} at ${formatLsn(left.end)}, but the archive says that it is at ${formatLsn(goal.lsn)}: there are two of that name, or its entry in the archive was altered.`,
    );
  }
  return formatLsn(left.end);
}

async function runtimeOf(
  { config, fill }: ComponentSetting<PostgresConfig>,
  plan: RecoveryPlan,
  scratch: Scratch,
  context: Context,
): Promise<ServerRuntime> {
  const filled = (key: "bin-dir" | "image") => {
    const written = config.server[key];
    return written === undefined ? undefined : fill(["server", key], written);
  };
  const wish = { runtime: config.server.runtime, binDir: filled("bin-dir"), image: filled("image") };
  return await chooseRuntime(wish, plan.details.major, scratch, context);
}

function extraSettings(config: PostgresConfig): Record<string, string> {
  return Object.fromEntries(
    Object.entries(config.server.settings).map(([name, value]) => [name, String(value)]),
  );
}

/** What the record says of checks that the runbook does not want. */
function switchedOff({ census, integrity }: PostgresConfig): Record<string, string> {
  return {
    ...(integrity ? {} : { integrity: "not checked, because the runbook switches it off" }),
    ...(census === false ? { census: "none, because the runbook switches it off" } : {}),
  };
}

/** What `max-age` counts back from: a point without a time is as old as the backup's end. */
function momentOf({ details }: RecoveryPlan, { time }: RecoveryPoint): bigint {
  return parseTime(time ?? details.stopTime) ?? 0n;
}

function describePlan(component: string, plan: RecoveryPlan): string {
  const count = plan.segments.length;
  return `Recovering ${component} from the backup ${plan.manifest.id} to ${describeGoal(plan.goal)}, with up to ${count} WAL segment${count === 1 ? "" : "s"}`;
}

function describeReached(
  component: string,
  { lsn: position, timeline, lastCommitBefore }: RecoveryPoint,
): string {
  const last =
    lastCommitBefore === null ? "no transaction after the backup" : `last transaction ${lastCommitBefore}`;
  return `Recovered ${component} to ${position} on the new timeline ${timeline}: ${last}`;
}

/** A full disk is nobody's bug. */
function diskSentence(error: unknown, folder: string): unknown {
  const code = codeOf(error);
  if (code !== "ENOSPC" && code !== "EDQUOT") return error;
  return new ToolError(`The disk at ${folder} is full: the recovery needs more space there.`, {
    cause: error,
  });
}
