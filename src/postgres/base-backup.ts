import { createHash } from "node:crypto";
import { type PackResult, pack, packedSuffix } from "../archive/pack.ts";
import { release } from "../archive/release.ts";
import { objectKey } from "../catalog/layout.ts";
import type { BackupObject } from "../catalog/manifest.ts";
import type { Context } from "../context.ts";
import { ToolError } from "../errors.ts";
import { type Progress, startProgress } from "../progress.ts";
import type { Store } from "../stores/store.ts";
import type { Connection } from "./connection.ts";
import { need } from "./source-facts.ts";
import type { CopySession } from "./wire.ts";

/** Where a base backup goes. */
export interface BaseBackupTarget {
  readonly store: Store;
  readonly component: string;
  readonly backupId: string;
  readonly recipients: readonly string[];
}

export interface BaseBackup {
  readonly startLsn: string;
  readonly stopLsn: string;
  readonly timeline: number;
  readonly objects: readonly BackupObject[];
  readonly tablespaces: readonly {
    readonly oid: string;
    readonly location: string;
    readonly bytes: number;
  }[];
  /** Raw bytes of all archives. */
  readonly dataBytes: number;
}

/** The object that holds the server's own manifest, stored as it is. */
const MANIFEST_NAME = "backup_manifest";

/** Types of messages within the copied data (manual: BASE_BACKUP in "Streaming Replication Protocol"). */
const NEW_ARCHIVE = 0x6e;
const MANIFEST = 0x6d;
const DATA = 0x64;
const PROGRESS = 0x70;

/**
 * Takes a base backup with a replication connection, straight into the store: an object for each tar archive
 * that the server sends, and its backup manifest with SHA-256 digests. Tablespaces stay symbolic links below
 * `pg_tblspc` in the archive of the data folder.
 */
export async function takeBaseBackup(
  replication: Connection,
  target: BaseBackupTarget,
  context: Context,
): Promise<BaseBackup> {
  const label = `drillbook ${target.backupId}`;
  const session = replication.copy(
    "taking the base backup",
    `BASE_BACKUP ( LABEL '${label}', PROGRESS true, CHECKPOINT 'fast', WAIT false, MANIFEST 'yes', MANIFEST_CHECKSUMS 'SHA256' )`,
  );
  const reader = new MessageReader(session);
  context.log.info("Base backup: waiting for the server's checkpoint.");
  await reader.peek();
  const [start, spaces] = session.results;
  const startLsn = need(start?.[0], "recptr");
  const timeline = Number(need(start?.[0], "tli"));
  // Sizes are KiB, estimated before the backup starts.
  const sizes = new Map((spaces ?? []).map((row) => [row.spcoid ?? "base", Number(row.size ?? 0) * 1024]));
  const total = [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
  const progress = startProgress(context, "Base backup", total);

  const objects: BackupObject[] = [];
  for (let message = await reader.next(); message !== undefined; message = await reader.next()) {
    if (message[0] === NEW_ARCHIVE) {
      const archive = readArchiveName(message);
      const expected = sizes.get(archive) ?? 0;
      objects.push(await storeArchive(reader, target, archive, expected, progress, context));
    } else if (message[0] === MANIFEST) {
      objects.push(await storeManifest(reader, target, context));
    } else if (message[0] !== PROGRESS) {
      throw new ToolError(`The server sent a base backup message of the unknown type ${message[0]}.`);
    }
  }
  progress.done();

  const stop = session.results.at(-1)?.[0];
  const stopLsn = need(stop, "recptr");
  if (Number(need(stop, "tli")) !== timeline) {
    throw new ToolError("The server changed its timeline during the base backup: run the backup again.");
  }
  const rawBytes = new Map(objects.map((object) => [object.name.split(".")[0], object.rawBytes]));
  return {
    startLsn,
    stopLsn,
    timeline,
    objects,
    tablespaces: (spaces ?? [])
      .filter((row) => row.spcoid !== null && row.spcoid !== undefined)
      .map((row) => ({
        oid: need(row, "spcoid"),
        location: need(row, "spclocation"),
        bytes: rawBytes.get(need(row, "spcoid")) ?? 0,
      })),
    dataBytes: objects
      .filter((object) => object.role === "archive")
      .reduce((sum, object) => sum + object.rawBytes, 0),
  };
}

/** The archive's name without `.tar`: `base` or a tablespace's oid. */
function readArchiveName(message: Buffer): string {
  const name = message.toString("utf8", 1, message.indexOf(0, 1));
  const match = /^(base|\d+)\.tar$/.exec(name);
  if (match?.[1] === undefined) throw new ToolError(`The server named a base backup archive "${name}".`);
  return match[1];
}

async function storeArchive(
  reader: MessageReader,
  target: BaseBackupTarget,
  archive: string,
  expectedBytes: number,
  progress: Progress,
  context: Context,
): Promise<BackupObject> {
  const name = `${archive}.tar${packedSuffix(target.recipients)}`;
  const packed = pack(givenBack(reader.archive(progress)), {
    recipients: target.recipients,
    signal: context.signal,
    hashRaw: false,
  });
  const key = objectKey(target.component, target.backupId, name);
  // A tar's headers and padding come on top of the files.
  const expected = Math.ceil(expectedBytes * 1.05) + 2 ** 20;
  const written = await target.store.put(key, packed.stream, {
    signal: context.signal,
    expectedBytes: expected,
  });
  const result: PackResult = packed.result();
  if (written !== result.storedBytes) {
    throw new ToolError(
      `${target.store.describe(key)} has ${written} bytes, but ${result.storedBytes} were sent: run the backup again.`,
    );
  }
  return {
    name,
    role: "archive",
    sealed: result.sealed,
    rawBytes: result.rawBytes,
    storedBytes: result.storedBytes,
    storedSha256: result.storedSha256,
    frameBytes: result.frameBytes,
    frames: result.frames,
  };
}

/** `pack` has copied a chunk when it asks for the next. */
async function* givenBack(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, void> {
  for await (const chunk of chunks) {
    yield chunk;
    release(chunk);
  }
}

async function storeManifest(
  reader: MessageReader,
  target: BaseBackupTarget,
  context: Context,
): Promise<BackupObject> {
  const hash = createHash("sha256");
  let bytes = 0;
  async function* body(): AsyncGenerator<Buffer> {
    for await (const chunk of reader.archive()) {
      hash.update(chunk);
      bytes += chunk.length;
      yield chunk;
    }
  }
  const key = objectKey(target.component, target.backupId, MANIFEST_NAME);
  await target.store.put(key, body(), { signal: context.signal });
  return {
    name: MANIFEST_NAME,
    role: "file",
    sealed: false,
    rawBytes: bytes,
    storedBytes: bytes,
    storedSha256: hash.digest("hex"),
    frameBytes: 0,
    frames: [],
  };
}

/** The copied messages in order, with a look at the next. */
class MessageReader {
  readonly #session: CopySession;
  #ahead: { readonly message: Buffer | undefined } | undefined;

  constructor(session: CopySession) {
    this.#session = session;
  }

  async peek(): Promise<Buffer | undefined> {
    this.#ahead ??= { message: await this.#session.next() };
    return this.#ahead.message;
  }

  async next(): Promise<Buffer | undefined> {
    const message = await this.peek();
    this.#ahead = undefined;
    return message;
  }

  /** The data of one archive or of the manifest: up to the message that begins the next, or the end. */
  async *archive(progress?: Progress): AsyncGenerator<Buffer, void, void> {
    for (;;) {
      const message = await this.peek();
      if (message === undefined || (message[0] !== DATA && message[0] !== PROGRESS)) return;
      this.#ahead = undefined;
      if (message[0] === PROGRESS) continue;
      progress?.add(message.length - 1);
      yield message.subarray(1);
    }
  }
}
