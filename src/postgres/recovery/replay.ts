import { setTimeout as sleep } from "node:timers/promises";
import { manifestKey } from "../../catalog/layout.ts";
import type { Context } from "../../context.ts";
import { AbortedError, DefectError, ToolError } from "../../errors.ts";
import type { Scratch } from "../scratch/scratch.ts";
import { configurationFiles, freePort, type ServerProcess, type ServerRuntime } from "../scratch/server.ts";
import { hbaFile, serverConfiguration } from "../scratch/server-settings.ts";
import type { StoreSetting } from "../store-setting.ts";
import type { RecoveryPlan } from "./plan.ts";
import { explainFailure } from "./recovery-failure.ts";
import { followRecoveryLog, type RecoveryLog } from "./server-log.ts";
import type { WalWindow } from "./wal-window.ts";

/** A server that has left recovery; whether it left it at the target is still to be proven. */
export interface Replayed {
  readonly server: ServerProcess;
  readonly port: number;
  readonly log: RecoveryLog;
  /** Seconds until the server accepted its settings and began, and from there to its promotion. */
  readonly startSeconds: number;
  readonly replaySeconds: number;
}

export interface ReplayOptions {
  readonly setting: StoreSetting;
  readonly plan: RecoveryPlan;
  readonly runtime: ServerRuntime;
  readonly scratch: Scratch;
  readonly window: WalWindow;
  /** `server.settings` of the runbook. */
  readonly extra: Readonly<Record<string, string>>;
  /** The one role that may log in over TCP. */
  readonly role: string;
  readonly context: Context;
  /** A port that is probably free; default: one that was free a moment ago. */
  readonly choosePort?: () => Promise<number>;
}

const POLL_MS = 20;
const PROGRESS_MS = 5_000;
const PORT_ATTEMPTS = 5;

/**
 * Starts the server on restored files and waits until it takes connections, which with `hot_standby=off` is after
 * its promotion. When it throws, the server has ended.
 */
export async function replay(options: ReplayOptions): Promise<Replayed> {
  const { plan, scratch } = options;
  const files = configurationFiles(scratch);
  await scratch.writeFile(files.hba, hbaFile(options.role));
  await scratch.writeFile(files.ident, "");
  await scratch.writeFile(`${scratch.data}/recovery.signal`, "");
  for (let attempt = 1; ; attempt += 1) {
    const port = await (options.choosePort ?? freePort)();
    const configuration = serverConfiguration({
      goal: plan.goal,
      timeline: plan.timeline,
      restoreCommand: options.window.command,
      hbaFile: files.hba,
      identFile: files.ident,
      socketFolder: scratch.socket,
      port,
      segmentBytes: plan.details.walSegmentBytes,
      source: plan.details.settings,
      extra: options.extra,
    });
    await scratch.writeFile(files.config, configuration);
    const log = followRecoveryLog();
    const startedAt = performance.now();
    const server = await options.runtime.start(scratch, files.config, (line) => log.line(line));
    try {
      const began = await waitForReady(server, log, options);
      await server.requireReach(port);
      return {
        server,
        port,
        log,
        startSeconds: (began - startedAt) / 1000,
        replaySeconds: (performance.now() - began) / 1000,
      };
    } catch (error) {
      await server.stop();
      // The port was free a moment ago: somebody was faster.
      const taken = !log.state.started && log.tail().some((line) => line.includes("could not bind"));
      if (!taken || attempt === PORT_ATTEMPTS || options.context.signal.aborted) throw error;
    }
  }
}

/** Returns when recovery began; throws why it ended. */
async function waitForReady(
  server: ServerProcess,
  log: RecoveryLog,
  options: ReplayOptions,
): Promise<number> {
  const { context, window, plan } = options;
  let began: number | undefined;
  let nextLine = performance.now() + PROGRESS_MS;
  while (!log.state.ready) {
    if (context.signal.aborted) throw new AbortedError();
    if (server.ending() !== undefined) {
      await server.ended;
      if (context.signal.aborted) throw new AbortedError();
      throw failureOf(server, log, options);
    }
    const broken = window.broken();
    if (broken !== undefined) throw broken;
    if (log.state.paused) {
      throw new ToolError(
        "The scratch server paused its recovery, although it was told to promote: see its settings.",
      );
    }
    if (log.state.started) began ??= performance.now();
    if (performance.now() >= nextLine) {
      nextLine += PROGRESS_MS;
      context.log.info(
        `Replaying WAL: ${log.state.restoredCount} of at most ${plan.segments.length} segments`,
      );
    }
    await sleep(POLL_MS, undefined, { signal: context.signal }).catch(() => undefined);
  }
  return began ?? performance.now();
}

function failureOf(server: ServerProcess, log: RecoveryLog, options: ReplayOptions): Error {
  const { setting, plan, window, context } = options;
  const backupSubject = setting.store.describe(manifestKey(setting.name, plan.manifest.id));
  const failure = explainFailure({
    goal: plan.goal,
    log: log.state,
    ending: server.ending() ?? "nothing",
    segments: plan.segments,
    segmentBytes: plan.details.walSegmentBytes,
    failureOf: (name) => window.failureOf(name),
    describe: (key) => setting.store.describe(key),
    backupSubject,
  });
  if (!(failure instanceof DefectError)) for (const line of log.tail().slice(-20)) context.log.info(line);
  return failure;
}
