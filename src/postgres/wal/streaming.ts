import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { RestorePoint } from "../../catalog/wal.ts";
import type { Context } from "../../context.ts";
import { AbortedError } from "../../errors.ts";
import { formatBytes, formatDuration } from "../../values.ts";
import type { Writer } from "../source/writer.ts";
import { makeRestorePoint } from "./restore-point.ts";
import type { Marked, Pull } from "./wal-pull.ts";

export interface StreamingOptions {
  readonly component: string;
  readonly writer: Writer;
  readonly pull: Pull;
  readonly seconds: number;
  /** How old the newest archived WAL may be, by the runbook; undefined when it does not say. */
  readonly freshSeconds: number | undefined;
  /** Called when everything up to a point is recoverable. */
  readonly onMark: (mark: Mark) => Promise<void>;
}

/** A point that was made while WAL was streamed, and what the store holds for it. */
export interface Mark extends Marked {
  readonly point: RestorePoint;
}

/** Between two points, when the runbook does not say how fresh WAL must be. */
const EVERY_SECONDS = 30;
/** In a folder each point takes a whole segment, which nobody but the server's owner deletes. */
const EVERY_SECONDS_IN_FOLDER = 5 * 60;

/**
 * Lets the pull go on for a while, and makes everything so far recoverable again and again. Returns the last point;
 * undefined when the role may make none. Throws when the pull fails.
 */
export async function streamWal(options: StreamingOptions, context: Context): Promise<Mark | undefined> {
  const { component, writer, pull, seconds } = options;
  const { log } = context;
  const end = performance.now() + seconds * 1000;
  const until = new Date(context.now().getTime() + seconds * 1000).toISOString().slice(0, 19);
  const every = secondsBetween(options);
  const goal = `Streaming the WAL of ${component} for ${formatDuration(seconds)}, until ${until}Z`;
  if (!mayMark(options)) {
    log.warning(
      `${goal}. Only whole segments are shipped, because the role may make no restore points that say how far an unfinished one reaches.`,
    );
    await pause(end - performance.now(), pull, context);
    return undefined;
  }
  log.info(`${goal}, with a new recoverable point at least every ${formatDuration(every)}`);
  if (!pull.shipsPartials) {
    log.info(
      "A folder holds whole segments alone, so each point ends its segment with pg_switch_wal, as archive_timeout does",
    );
  }
  // A server may end sessions that ask too seldom.
  await writer.sql.query("preparing the session", "SET idle_session_timeout = 0");
  let last: Mark | undefined;
  let next = performance.now();
  for (;;) {
    await pause(Math.min(next, end) - performance.now(), pull, context);
    const now = performance.now();
    // The run ends in a point of its own.
    if (now >= end) return last;
    next = now + every * 1000;
    last = await mark(options, context);
    await options.onMark(last);
    log.info(describeMark(component, last, context));
  }
}

function secondsBetween({ pull, freshSeconds }: StreamingOptions): number {
  if (freshSeconds !== undefined) return Math.max(1, freshSeconds / 2);
  return pull.shipsPartials ? EVERY_SECONDS : EVERY_SECONDS_IN_FOLDER;
}

function mayMark({ writer: { abilities }, pull }: StreamingOptions): boolean {
  return abilities.createRestorePoint && (pull.shipsPartials || abilities.switchWal);
}

async function mark({ writer, pull }: StreamingOptions, context: Context): Promise<Mark> {
  const point = await makeRestorePoint(writer, pull, randomBytes(3).toString("hex"), context);
  if (!pull.shipsPartials) await writer.sql.query("ending the WAL segment", "SELECT pg_switch_wal()");
  return { ...(await pull.mark(point)), point };
}

function describeMark(component: string, { point, segments, partial }: Mark, context: Context): string {
  const lag = Math.max(0, context.now().getTime() - Date.parse(point.time)) / 1000;
  const more = partial === null ? "" : ` and ${formatBytes(partial.bytes)} of the next`;
  return `${component}: recoverable until ${point.time}, ${segments} segment${segments === 1 ? "" : "s"}${more}, lag ${formatDuration(lag)}`;
}

/** Ends early when the pull does, which before its goal is a failure. */
async function pause(milliseconds: number, pull: Pull, context: Context): Promise<void> {
  const over = new AbortController();
  const signal = AbortSignal.any([context.signal, over.signal]);
  try {
    const slept = sleep(Math.max(0, milliseconds), undefined, { signal }).catch(() => undefined);
    await Promise.race([slept, pull.done]);
  } finally {
    over.abort();
  }
  if (context.signal.aborted) throw new AbortedError();
}
