import { parseLsn } from "../../catalog/lsn.ts";
import { parseTime } from "../../targets.ts";

/** One message of the server's log, cut into its parts. */
export interface LogMessage {
  /** The kind of process that wrote it, such as `startup`; undefined before the server has read its settings. */
  readonly process: string | undefined;
  readonly severity: string;
  readonly text: string;
}

/** Whether what replay stopped at was still replayed. */
type Side = "before" | "after";

/** Where and why replay stopped, as the server says it. */
type RecoveryStop =
  | {
      readonly kind: "transaction";
      readonly side: Side;
      readonly outcome: "commit" | "abort";
      readonly xid: string;
      readonly micros: bigint;
    }
  | { readonly kind: "lsn"; readonly side: Side; readonly lsn: bigint }
  | { readonly kind: "restore-point"; readonly name: string; readonly micros: bigint }
  | { readonly kind: "consistency" };

/** What the log has said so far about a recovery. */
export interface RecoveryLog {
  /** Takes one line as the server wrote it. */
  line(line: string): void;
  readonly state: Readonly<RecoveryState>;
  /** The last lines, for a message or a debug log; bounded. */
  tail(): readonly string[];
}

interface RecoveryState {
  /** `starting point-in-time recovery to …`: the settings were accepted and the startup process is at work. */
  started: boolean;
  /** Segments and history files that `restore_command` handed over, in order; only the newest and their number. */
  lastRestored: string | undefined;
  restoredCount: number;
  consistent: boolean;
  stop: RecoveryStop | undefined;
  /** Commit or abort time of the last transaction that was replayed. */
  lastTransactionMicros: bigint | undefined;
  newTimeline: number | undefined;
  complete: boolean;
  ready: boolean;
  paused: boolean;
  /** The first sentence about WAL that could not be read, before the stop. */
  badRecord: string | undefined;
  /** The first FATAL or PANIC that ends the server, with its DETAIL and HINT. */
  fatal: LogMessage | undefined;
  /** What the server said of a setting it refuses, or a socket it cannot open. */
  complaint: string | undefined;
}

/** `log_line_prefix` of the scratch server: the kind of process and its id. */
export const LOG_LINE_PREFIX = "%b[%p] ";

const TAIL_LINES = 200;
const LINE_LENGTH = 2_000;
const PREFIX = /^(?:([a-z ]+)\[\d+\] |.*?\[\d+\] )?([A-Z]+\d?): {1,2}(.*)$/;
const TIMESTAMP = String.raw`(\d{4,}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?[+-]\d\d(?::?\d\d)?)`;
const STOP_TRANSACTION = new RegExp(
  `^recovery stopping (before|after) (commit|abort) of transaction (\\d+), time ${TIMESTAMP}$`,
);
const STOP_LSN = /^recovery stopping (before|after) WAL location \(LSN\) "([0-9A-F]+\/[0-9A-F]+)"$/;
const STOP_RESTORE_POINT = new RegExp(`^recovery stopping at restore point "(.*)", time ${TIMESTAMP}$`);
const LAST_TRANSACTION = new RegExp(`^last completed transaction was at log time ${TIMESTAMP}$`);

/**
 * Sentences of xlogreader.c and xlogrecovery.c about WAL that is not what it should be. They are harmless after the
 * stop, when the server looks for the end of the WAL, and never before it.
 */
const BAD_RECORD =
  /^(?:record with |invalid (?:record|magic|info bits|xlog|resource manager|contrecord|block|primary|checkpoint|page)|incorrect (?:resource|prev)|unexpected (?:pageaddr|timeline)|out-of-sequence (?:timeline|block)|WAL file is from|missing contrecord|there is no contrecord|contrecord is requested|could not (?:decompress|restore) image|block with compressed image)/;

/** Cuts a line into process, severity and text; undefined for a line that is no message (such as a continuation). */
export function parseLogLine(line: string): LogMessage | undefined {
  const match = PREFIX.exec(line);
  if (match === null) return undefined;
  return { process: match[1], severity: match[2] ?? "", text: match[3] ?? "" };
}

/**
 * Follows a server's log through a recovery. It expects `lc_messages=C`, `timezone=UTC` and
 * {@link LOG_LINE_PREFIX}; the sentences are those of src/backend/access/transam/xlogrecovery.c, PostgreSQL 14 to 18.
 */
export function followRecoveryLog(): RecoveryLog {
  const state: RecoveryState = {
    started: false,
    lastRestored: undefined,
    restoredCount: 0,
    consistent: false,
    stop: undefined,
    lastTransactionMicros: undefined,
    newTimeline: undefined,
    complete: false,
    ready: false,
    paused: false,
    badRecord: undefined,
    fatal: undefined,
    complaint: undefined,
  };
  const lines: string[] = [];
  let previous: LogMessage | undefined;

  function take(message: LogMessage): void {
    const { severity, text } = message;
    if (severity === "DETAIL" || severity === "HINT") {
      if (previous !== undefined && previous === state.fatal) {
        state.fatal = { ...previous, text: `${withoutDot(previous.text)} (${withoutDot(text)})` };
        previous = state.fatal;
      }
      return;
    }
    previous = message;
    if (message.process === "client backend") return;
    if (severity === "FATAL" || severity === "PANIC") state.fatal ??= message;
    if (severity !== "LOG" && severity !== "WARNING" && severity !== "FATAL") return;
    if (message.process === "startup") fromStartup(text);
    else if (text === "database system is ready to accept connections") state.ready = true;
    else if (!state.started && isComplaint(text)) state.complaint ??= text;
  }

  function fromStartup(text: string): void {
    if (text.startsWith("starting point-in-time recovery") || text === "starting archive recovery") {
      state.started = true;
    } else if (text.startsWith("restored log file ")) {
      state.lastRestored = /^restored log file "([^"]+)"/.exec(text)?.[1] ?? state.lastRestored;
      state.restoredCount += 1;
    } else if (text.startsWith("consistent recovery state reached")) {
      state.consistent = true;
    } else if (text.startsWith("recovery stopping ")) {
      state.stop = parseStop(text);
    } else if (text.startsWith("last completed transaction was at log time")) {
      state.lastTransactionMicros = parseTime(LAST_TRANSACTION.exec(text)?.[1] ?? "");
    } else if (text.startsWith("selected new timeline ID: ")) {
      state.newTimeline = Number(text.slice("selected new timeline ID: ".length));
    } else if (text === "archive recovery complete") {
      state.complete = true;
    } else if (text.startsWith("recovery has paused") || text.startsWith("pausing at the end of recovery")) {
      state.paused = true;
    } else if (state.stop === undefined && BAD_RECORD.test(text)) {
      state.badRecord ??= text;
    }
  }

  return {
    state,
    line(line: string): void {
      lines.push(line.slice(0, LINE_LENGTH));
      if (lines.length > TAIL_LINES) lines.shift();
      const message = parseLogLine(line);
      if (message !== undefined) take(message);
    },
    tail: () => lines,
  };
}

function parseStop(text: string): RecoveryStop | undefined {
  if (text === "recovery stopping after reaching consistency") return { kind: "consistency" };
  const transaction = STOP_TRANSACTION.exec(text);
  if (transaction !== null) {
    const [, side, outcome, xid = "", time = ""] = transaction;
    const micros = parseTime(time);
    if (micros === undefined) return undefined;
    return {
      kind: "transaction",
      side: sideOf(side),
      outcome: outcome === "commit" ? "commit" : "abort",
      xid,
      micros,
    };
  }
  const [, side, position = ""] = STOP_LSN.exec(text) ?? [];
  const lsn = parseLsn(position);
  if (lsn !== undefined) return { kind: "lsn", side: sideOf(side), lsn };
  const point = STOP_RESTORE_POINT.exec(text);
  const micros = parseTime(point?.[2] ?? "");
  if (point === null || micros === undefined) return undefined;
  return { kind: "restore-point", name: point[1] ?? "", micros };
}

function sideOf(word: string | undefined): Side {
  return word === "after" ? "after" : "before";
}

/** A sentence that says why the server cannot even start; the FATAL that follows only says that it did not. */
function isComplaint(text: string): boolean {
  return (
    text.startsWith("could not bind ") ||
    text.startsWith("unrecognized configuration parameter") ||
    text.startsWith("invalid value for parameter") ||
    text.startsWith("parameter ") ||
    text.startsWith("syntax error in file") ||
    /^-?[\d.]+ .*is outside the valid range for parameter/.test(text)
  );
}

function withoutDot(text: string): string {
  return text.endsWith(".") ? text.slice(0, -1) : text;
}
