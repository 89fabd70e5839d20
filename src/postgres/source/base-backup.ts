import { createHash } from "node:crypto";
import { type PackResult, pack, packedSuffix } from "../../archive/pack.ts";
import { objectKey } from "../../catalog/layout.ts";
import type { BackupObject } from "../../catalog/manifest.ts";
import type { Context } from "../../context.ts";
import { ToolError } from "../../errors.ts";
import { type Progress, startProgress } from "../../progress.ts";
import { release } from "../../release.ts";
import type { Store } from "../../stores/store.ts";
import { type BackupMessage, baseBackupCommand, readBackupMessages } from "./base-backup-messages.ts";
import type { Connection } from "./connection.ts";
import { need } from "./source-facts.ts";

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

/**
 * Takes a base backup with a replication connection, straight into the store: an object for each tar archive
 * that the server sends, and its backup manifest with SHA-256 digests. Tablespaces stay symbolic links below
 * `pg_tblspc` in the archive of the data folder.
 */
export async function takeBaseBackup(
  replication: Connection,
  target: BaseBackupTarget,
  major: number,
  context: Context,
): Promise<BaseBackup> {
  const label = `drillbook ${target.backupId}`;
  const session = replication.copy("taking the base backup", baseBackupCommand(major, label));
  const reader = new MessageReader(readBackupMessages(session, major));
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
    if (message.kind === "archive") {
      const { archive } = message;
      const expected = sizes.get(archive) ?? 0;
      objects.push(await storeArchive(reader, target, archive, expected, progress, context));
    } else if (message.kind === "manifest") {
      objects.push(await storeManifest(reader, target, context));
    } else {
      throw new ToolError("The server sent data of a base backup before it named an archive.");
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

/** The messages in order, with a look at the next. */
class MessageReader {
  readonly #messages: AsyncGenerator<BackupMessage, void, void>;
  #ahead: { readonly message: BackupMessage | undefined } | undefined;

  constructor(messages: AsyncGenerator<BackupMessage, void, void>) {
    this.#messages = messages;
  }

  async peek(): Promise<BackupMessage | undefined> {
    this.#ahead ??= { message: (await this.#messages.next()).value ?? undefined };
    return this.#ahead.message;
  }

  async next(): Promise<BackupMessage | undefined> {
    const message = await this.peek();
    this.#ahead = undefined;
    return message;
  }

  /** The data of one archive or of the manifest: up to the message that begins the next, or the end. */
  async *archive(progress?: Progress): AsyncGenerator<Buffer, void, void> {
    for (;;) {
      const message = await this.peek();
      if (message?.kind !== "data") return;
      this.#ahead = undefined;
      progress?.add(message.data.length);
      yield message.data;
    }
  }
}
