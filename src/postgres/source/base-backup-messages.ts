import { ToolError } from "../../errors.ts";
import type { CopySession } from "./wire.ts";

/** What a server sends during a base backup, whatever its version. */
export type BackupMessage =
  /** A tar archive begins: `base`, or a tablespace's oid. */
  | { readonly kind: "archive"; readonly archive: string }
  /** The server's own manifest begins. */
  | { readonly kind: "manifest" }
  /** Bytes of what began last. */
  | { readonly kind: "data"; readonly data: Buffer };

/** Types of messages within the copied data (manual of 15 and later: BASE_BACKUP in "Streaming Replication Protocol"). */
const NEW_ARCHIVE = 0x6e;
const MANIFEST = 0x6d;
const DATA = 0x64;
const PROGRESS = 0x70;

/** PostgreSQL 14 leaves it to the client to end a tar: two blocks of zeros. */
const TAR_END = Buffer.alloc(2 * 512);

/** The first major with one copy of typed messages; before it each archive and the manifest is a copy of its own. */
const TYPED_SINCE = 15;

/** The command that takes a base backup, in the words of the server's major version. */
export function baseBackupCommand(major: number, label: string): string {
  return major >= TYPED_SINCE
    ? `BASE_BACKUP ( LABEL '${label}', PROGRESS true, CHECKPOINT 'fast', WAIT false, MANIFEST 'yes', MANIFEST_CHECKSUMS 'SHA256' )`
    : `BASE_BACKUP LABEL '${label}' PROGRESS FAST NOWAIT MANIFEST 'yes' MANIFEST_CHECKSUMS 'SHA256'`;
}

/** The messages of the running command, in order. */
export function readBackupMessages(
  session: CopySession,
  major: number,
): AsyncGenerator<BackupMessage, void, void> {
  return major >= TYPED_SINCE ? readTyped(session) : readBare(session);
}

async function* readTyped(session: CopySession): AsyncGenerator<BackupMessage, void, void> {
  for (let message = await session.next(); message !== undefined; message = await session.next()) {
    if (message[0] === DATA) yield { kind: "data", data: message.subarray(1) };
    else if (message[0] === NEW_ARCHIVE) yield { kind: "archive", archive: readArchiveName(message) };
    else if (message[0] === MANIFEST) yield { kind: "manifest" };
    else if (message[0] !== PROGRESS) {
      throw new ToolError(`The server sent a base backup message of the unknown type ${message[0]}.`);
    }
  }
}

/** The archive's name without `.tar`. */
function readArchiveName(message: Buffer): string {
  const name = message.toString("utf8", 1, message.indexOf(0, 1));
  const match = /^(base|\d+)\.tar$/.exec(name);
  if (match?.[1] === undefined) throw new ToolError(`The server named a base backup archive "${name}".`);
  return match[1];
}

/** The archives come in the order of the second result's rows, and the manifest after them. */
async function* readBare(session: CopySession): AsyncGenerator<BackupMessage, void, void> {
  let copy = 0;
  let inArchive = false;
  for (let message = await session.next(); message !== undefined; message = await session.next()) {
    if (session.copies() === copy) {
      yield { kind: "data", data: message };
      continue;
    }
    if (inArchive) yield { kind: "data", data: TAR_END };
    copy += 1;
    const archives = session.results[1] ?? [];
    const space = archives[copy - 1];
    inArchive = space !== undefined;
    if (copy !== session.copies() || copy > archives.length + 1) {
      throw new ToolError(
        `The server sent ${session.copies()} copies for a base backup of ${archives.length} archives.`,
      );
    }
    yield space === undefined ? { kind: "manifest" } : { kind: "archive", archive: space.spcoid ?? "base" };
    yield { kind: "data", data: message };
  }
  if (inArchive) throw new ToolError("The server sent no manifest of the base backup: run the backup again.");
}
