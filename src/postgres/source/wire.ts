import type { Socket } from "node:net";

/**
 * Copy commands over the simple query protocol (manual: "Frontend/Backend Protocol", COPY Operations and Streaming
 * Replication Protocol). `pg` has no interface for them, but hands every message of the running query to it.
 */

/** The parts of a `pg` client that its type declarations leave out. */
export interface WireClient {
  readonly connection: WireConnection;
  query(submittable: Submittable): unknown;
}

interface WireConnection {
  readonly stream: Socket;
  query(text: string): void;
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
  on(event: string, listener: () => void): void;
  removeListener(event: string, listener: () => void): void;
}

/** What `pg` calls while a query of ours runs. */
interface Submittable {
  submit(connection: WireConnection): void;
  handleRowDescription(message: { readonly fields: readonly { readonly name: string }[] }): void;
  handleDataRow(message: { readonly fields: readonly (string | null)[] }): void;
  handleCommandComplete(): void;
  handleEmptyQuery(): void;
  handlePortalSuspended(): void;
  handleCopyInResponse(): void;
  handleCopyData(message: { readonly chunk: Buffer }): void;
  handleReadyForQuery(): void;
  handleError(error: unknown): void;
}

type ResultSet = Record<string, string | null>[];

export interface CopySession {
  /** The result sets that have arrived so far, before and after the copied data. */
  readonly results: readonly ResultSet[];
  /** The next message of copied data; undefined when the copy has ended well. Throws when the command failed. */
  next(): Promise<Buffer | undefined>;
  /** Which of the command's copies from the server, counted from 1, the message belongs to that {@link next} gave last. */
  copies(): number;
  /** Whether {@link next} would answer at once. */
  ready(): boolean;
  /** Sends a message to the server, such as a standby status update. */
  send(message: Buffer): void;
  /** Tells the server that nothing more is sent; it ends the copy in turn. */
  end(): void;
  finished(): boolean;
}

/** Reading from the socket stops above the first mark and goes on below the second. */
const HIGH_WATER_BYTES = 4 * 2 ** 20;
const LOW_WATER_BYTES = 2 ** 20;

/** Starts a command that copies. `translate` makes a sentence of an error. */
export function startCopy(
  client: WireClient,
  command: string,
  translate: (error: unknown) => Error,
): CopySession {
  const { connection } = client;
  const queue: { readonly chunk: Buffer; readonly copy: number }[] = [];
  const results: ResultSet[] = [];
  let head = 0;
  /** Copies that began on the wire, and the one of the message that was taken last. */
  let begun = 0;
  let takenCopy = 0;
  let queuedBytes = 0;
  let columns: string[] = [];
  let state: "running" | "done" | "failed" = "running";
  let failure: Error | undefined;
  let sentEnd = false;
  let paused = false;
  let wake: (() => void) | undefined;

  function notify(): void {
    wake?.();
    wake = undefined;
  }

  function finish(outcome: "done" | "failed", error?: Error): void {
    if (state !== "running") return;
    state = outcome;
    failure = error;
    connection.removeListener("copyDone", end);
    connection.removeListener("copyOutResponse", begin);
    if (paused) connection.stream.resume();
    notify();
  }

  function begin(): void {
    begun += 1;
  }

  function end(): void {
    if (sentEnd || state !== "running") return;
    sentEnd = true;
    connection.endCopyFrom();
  }

  client.query({
    submit(): void {
      connection.query(command);
    },
    handleRowDescription(message): void {
      columns = message.fields.map((field) => field.name);
      results.push([]);
    },
    handleDataRow(message): void {
      const row = Object.fromEntries(columns.map((name, index) => [name, message.fields[index] ?? null]));
      results.at(-1)?.push(row);
    },
    handleCommandComplete(): void {},
    handleEmptyQuery(): void {},
    handlePortalSuspended(): void {},
    handleCopyInResponse(): void {},
    handleCopyData(message): void {
      // The chunk is a view on a buffer that the parser uses again: it must be copied before this returns.
      const chunk = Buffer.from(message.chunk);
      queue.push({ chunk, copy: begun });
      queuedBytes += chunk.length;
      if (queuedBytes > HIGH_WATER_BYTES && !paused) {
        paused = true;
        connection.stream.pause();
      }
      notify();
    },
    handleReadyForQuery(): void {
      finish("done");
    },
    handleError(error): void {
      finish("failed", translate(error));
    },
  });
  // The server ended its side of a two-way copy, as it does where a timeline ends: end ours, and it goes on. After
  // a one-way copy the message is ignored by the server, so it is not sent there.
  if (command.startsWith("START_REPLICATION")) connection.on("copyDone", end);
  connection.on("copyOutResponse", begin);

  function take(): Buffer | undefined {
    const item = queue[head];
    if (item === undefined) return undefined;
    const { chunk } = item;
    takenCopy = item.copy;
    head += 1;
    queuedBytes -= chunk.length;
    if (head === queue.length || head > 1024) {
      queue.splice(0, head);
      head = 0;
    }
    if (paused && queuedBytes < LOW_WATER_BYTES) {
      paused = false;
      connection.stream.resume();
    }
    return chunk;
  }

  return {
    results,
    async next(): Promise<Buffer | undefined> {
      for (;;) {
        if (state === "failed") throw failure;
        const chunk = take();
        if (chunk !== undefined) return chunk;
        if (state === "done") return undefined;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    copies: () => takenCopy,
    ready: () => head < queue.length || state !== "running",
    send(message): void {
      if (!sentEnd && state === "running") connection.sendCopyFromChunk(message);
    },
    end,
    finished: () => state !== "running",
  };
}
