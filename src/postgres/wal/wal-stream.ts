import { formatLsn, segmentAt, segmentStart } from "../../catalog/lsn.ts";
import { AbortedError, ToolError } from "../../errors.ts";
import { release } from "../../release.ts";
import type { Connection } from "../source/connection.ts";
import { quoteIdentifier } from "../source/slot.ts";
import { readSegmentHeader, readWalMessage, SEGMENT_HEADER_BYTES, statusUpdate } from "./wal-messages.ts";

export interface WalStreamOptions {
  readonly slot: string;
  readonly timeline: number;
  /** Number of the first segment. */
  readonly first: number;
  readonly segmentBytes: number;
  readonly systemIdentifier: string;
  /** Called whenever WAL has arrived, with where it ends. */
  readonly onReceived?: (position: bigint) => void;
}

/** What has arrived of a segment that is not complete. */
interface Unfinished {
  readonly number: number;
  /** A view on memory that {@link WalStream.next} hands out later as a part of the whole segment. */
  readonly content: Buffer;
}

/** Whole segments of one timeline as the server streams them. */
export interface WalStream {
  /** The next segment's bytes; undefined when the server has ended the timeline. */
  next(): Promise<Buffer | undefined>;
  /** The segment that is on its way; undefined when hardly any of it is here. */
  unfinished(): Unfinished | undefined;
  /** Tells the server that all WAL before this position is safe. */
  confirm(flushed: bigint): void;
  /** Ends the stream; the connection can be used again then. */
  end(): Promise<void>;
  /** Stops the timer; for when the connection is given up. */
  dispose(): void;
}

/**
 * The server ends a connection that is silent for `wal_sender_timeout`, 60 s by default. A slow store keeps us from
 * reading its questions, so signs of life are sent unasked.
 */
const STATUS_EVERY_MS = 1_000;

/** Starts streaming. Throws a WalRemovedError from {@link WalStream.next} when the server no longer has the WAL. */
export function openWalStream(replication: Connection, options: WalStreamOptions): WalStream {
  const { slot, timeline, segmentBytes } = options;
  let position = segmentStart(options.first, segmentBytes);
  let flushed = 0n;
  const session = replication.copy(
    "streaming WAL",
    `START_REPLICATION SLOT ${quoteIdentifier(slot)} PHYSICAL ${formatLsn(position)} TIMELINE ${timeline}`,
  );
  const timer = setInterval(() => session.send(statusUpdate(flushed)), STATUS_EVERY_MS);
  timer.unref();
  let segment: Buffer | undefined;
  /** Bytes of the last message that belong to the next segment. */
  let rest: Buffer | undefined;
  let filled = 0;

  /** Takes up bytes until the segment is full; returns it then. */
  function fill(data: Buffer): Buffer | undefined {
    segment ??= Buffer.allocUnsafeSlow(segmentBytes);
    const taken = data.copy(segment, filled);
    filled += taken;
    position += BigInt(taken);
    rest = taken < data.length ? data.subarray(taken) : undefined;
    options.onReceived?.(position);
    if (filled < segmentBytes) return undefined;
    const whole = segment;
    segment = undefined;
    filled = 0;
    checkHeader(whole, position - BigInt(segmentBytes));
    return whole;
  }

  function checkHeader(content: Buffer, start: bigint): void {
    const header = readSegmentHeader(content);
    if (
      header?.pageAddress === start &&
      header.systemIdentifier === options.systemIdentifier &&
      header.segmentBytes === segmentBytes
    ) {
      return;
    }
    throw new ToolError(
      `The server sent WAL at ${formatLsn(start)} whose header is not of this cluster and position: its WAL is damaged there.`,
    );
  }

  return {
    async next(): Promise<Buffer | undefined> {
      for (;;) {
        if (rest !== undefined) {
          const whole = fill(rest);
          if (whole !== undefined) return whole;
        }
        const message = await session.next();
        if (message === undefined) return undefined;
        const parsed = readWalMessage(message);
        if (parsed?.kind === "keepalive" && parsed.replyNow) session.send(statusUpdate(flushed));
        if (parsed?.kind !== "data") continue;
        if (parsed.start !== position) {
          throw new ToolError(
            `The server sent WAL from ${formatLsn(parsed.start)} where ${formatLsn(position)} was due: run the action again.`,
          );
        }
        const whole = fill(parsed.data);
        if (rest === undefined) release(message);
        if (whole !== undefined) return whole;
      }
    },
    unfinished() {
      if (segment === undefined || filled < SEGMENT_HEADER_BYTES) return undefined;
      const start = position - BigInt(filled);
      const content = segment.subarray(0, filled);
      checkHeader(content, start);
      return { number: segmentAt(start, segmentBytes), content };
    },
    confirm(upTo): void {
      flushed = upTo;
      session.send(statusUpdate(flushed));
    },
    async end(): Promise<void> {
      clearInterval(timer);
      session.end();
      try {
        while ((await session.next()) !== undefined);
      } catch (error) {
        if (error instanceof AbortedError) throw error;
        // Everything that was asked for is in the store: how the server says good-bye is of no matter.
      }
    },
    dispose(): void {
      clearInterval(timer);
    },
  };
}
