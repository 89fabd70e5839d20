import { randomBytes } from "node:crypto";
import { backupId } from "../catalog/layout.ts";
import type { BackupOutcome, Note, SlotReport } from "../component.ts";
import type { Context } from "../context.ts";
import { AbortedError, DefectError, messageOf, ToolError, UserError } from "../errors.ts";
import { chooseComponents } from "../runbook/choose.ts";
import { loadRunbook } from "../runbook/load.ts";
import { openService, type Service } from "../service.ts";
import { formatBytes, formatDuration } from "../values.ts";
import { renderBackups } from "./markdown.ts";

export interface BackupRequest {
  /** Path of the runbook. */
  readonly runbook: string;
  /** Names of components; none means all. */
  readonly components: readonly string[];
  readonly kind: "full" | "wal";
  /** With `wal`: go on archiving for so long; the components all at once. */
  readonly streamSeconds: number;
  /** How long another run that writes for the same component is waited for; 10 minutes unless given. */
  readonly waitSeconds?: number | undefined;
  /** After a full backup; `dry-run` after any, and nothing is deleted. */
  readonly prune: "true" | "false" | "dry-run";
}

/** What became of one component. Times are RFC 3339 in UTC; null where there is nothing to say. */
export interface ComponentBackup {
  readonly component: string;
  readonly backupId: string | null;
  readonly bytes: number;
  readonly seconds: number;
  readonly recoverableUntil: string | null;
  /** What the server kept for the replication slot when the run began. */
  readonly slot: SlotReport | null;
  /** What else there is to say, such as that the slot is at risk. */
  readonly notes: readonly Note[];
  /** Ids of the backups that retention deleted. */
  readonly pruned: readonly string[];
  /** One sentence; null when it succeeded. */
  readonly error: string | null;
}

export interface BackupRun {
  /** Id of the run, for the name of its report. */
  readonly id: string;
  readonly service: string;
  readonly kind: "full" | "wal";
  readonly backups: readonly ComponentBackup[];
  readonly bytes: number;
  readonly seconds: number;
  /** The newest id; undefined when no full backup succeeded. */
  readonly backupId: string | undefined;
  /** Up to when all components are recoverable now; undefined when one of them does not say. */
  readonly recoverableUntil: string | undefined;
  readonly markdown: string;
  /** Throws when a component failed, so that the job is red after its outputs are set. */
  assertSucceeded(): void;
}

/**
 * Backs up components one after another. One that fails does not keep the others from their backup; the run as a whole
 * has then failed. Throws a UserError when the runbook or a name is wrong, before anything is touched.
 */
export async function runBackups(request: BackupRequest, context: Context): Promise<BackupRun> {
  const startedAt = context.now();
  if (request.kind === "full" && request.streamSeconds > 0) {
    throw new UserError(
      "The input stream-for goes with kind: wal alone: a full backup ends when it is taken, so remove stream-for or use kind: wal.",
    );
  }
  const runbook = loadRunbook(request.runbook);
  const names = chooseComponents(Object.keys(runbook.config.components), request.components);
  const service = openService(runbook, context);
  const backups: ComponentBackup[] = [];
  const errors: unknown[] = [];
  try {
    for (const { backup, error } of await backUpAll(names, request, service, context)) {
      backups.push(backup);
      if (error !== undefined) errors.push(error);
    }
  } finally {
    await service.close();
  }

  const ends = backups.map((backup) => backup.recoverableUntil);
  const run = {
    id: backupId(startedAt, randomBytes(3)),
    service: runbook.config.service,
    kind: request.kind,
    backups,
    bytes: backups.reduce((sum, backup) => sum + backup.bytes, 0),
    seconds: (context.now().getTime() - startedAt.getTime()) / 1000,
    backupId: backups.findLast((backup) => backup.backupId !== null)?.backupId ?? undefined,
    recoverableUntil: ends.includes(null) ? undefined : (ends.toSorted()[0] ?? undefined),
  };
  return { ...run, markdown: renderBackups(run), assertSucceeded: () => assertSucceeded(backups, errors) };
}

interface Taken {
  readonly backup: ComponentBackup;
  readonly error?: unknown;
}

/** One after another, but all at once when they stream: else the second would wait until the first has ended. */
async function backUpAll(
  names: readonly string[],
  request: BackupRequest,
  service: Service,
  context: Context,
): Promise<Taken[]> {
  if (request.streamSeconds === 0) {
    const all: Taken[] = [];
    for (const name of names) all.push(await backUp(name, request, service, context));
    return all;
  }
  const ended = await Promise.allSettled(names.map((name) => backUp(name, request, service, context)));
  return ended.map((one) => {
    if (one.status === "rejected") throw one.reason;
    return one.value;
  });
}

async function backUp(
  name: string,
  request: BackupRequest,
  service: Service,
  context: Context,
): Promise<Taken> {
  const began = performance.now();
  const seconds = () => (performance.now() - began) / 1000;
  const nothing = {
    component: name,
    backupId: null,
    bytes: 0,
    recoverableUntil: null,
    slot: null,
    notes: [],
    pruned: [],
  };
  try {
    const component = await service.load(name);
    const setting = await service.setting(name);
    const { kind, streamSeconds, waitSeconds } = request;
    const outcome = await component.backup(setting, kind, context, { streamSeconds, waitSeconds });
    const pruned = isPruned(request)
      ? await component.prune(setting, context, { dryRun: request.prune === "dry-run", waitSeconds })
      : { backups: [], notes: [] };
    context.log.info(`${name}: ${describe(outcome)} in ${formatDuration(seconds())}`);
    return {
      backup: {
        ...nothing,
        backupId: outcome.manifest?.id ?? null,
        bytes: outcome.bytes,
        seconds: seconds(),
        recoverableUntil: outcome.recoverableUntil?.toISOString() ?? null,
        slot: outcome.slot ?? null,
        notes: [...(outcome.notes ?? []), ...pruned.notes],
        pruned: pruned.backups,
        error: null,
      },
    };
  } catch (error) {
    if (context.signal.aborted || error instanceof AbortedError) throw error;
    return { backup: { ...nothing, seconds: seconds(), error: messageOf(error) }, error };
  }
}

function isPruned({ prune, kind }: BackupRequest): boolean {
  return prune === "dry-run" || (prune === "true" && kind === "full");
}

function describe(outcome: BackupOutcome): string {
  const what = outcome.manifest === undefined ? "WAL" : `backup ${outcome.manifest.id}`;
  return `${what}, ${formatBytes(outcome.bytes)} written`;
}

function assertSucceeded(backups: readonly ComponentBackup[], errors: readonly unknown[]): void {
  if (errors.length === 0) return;
  if (errors.length === 1) throw errors[0];
  const ours = errors.find(
    (error) => !(error instanceof UserError || error instanceof ToolError || error instanceof DefectError),
  );
  if (ours !== undefined) throw ours;
  const failed = backups.filter((backup) => backup.error !== null);
  throw new UserError("Several components could not be backed up.", {
    problems: failed.map((backup) => ({ message: `${backup.component}: ${backup.error}` })),
  });
}
