import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { gunzip, zstdDecompress } from "node:zlib";
import { timelineName } from "../../catalog/layout.ts";
import { formatLsn, parseSegmentName, segmentStart } from "../../catalog/lsn.ts";
import { codeOf, messageOf, ToolError, UserError } from "../../errors.ts";
import { readSegmentHeader } from "./wal-messages.ts";

/** A folder that the server's `archive_command` fills. Files of other names than those asked for are never looked at. */
export interface ArchiveFolder {
  readonly path: string;
  /**
   * A whole segment, or why there is none yet: it is absent, still growing, or of the wrong size. A file counts when it is
   * old, or two looks some time apart saw it unchanged, and it did not change while it was read. Throws when two forms of
   * it differ or it belongs to another cluster.
   */
  segment(name: string): Promise<Found>;
  /** A timeline's history file, by the same rules. */
  history(timeline: number): Promise<Found>;
  /** Names of all files that are named like a segment, in any form. */
  segmentNames(): Promise<string[]>;
}

type Found = { readonly content: Buffer } | { readonly missing: string };

export interface ArchiveFolderOptions {
  readonly path: string;
  readonly systemIdentifier: string;
  readonly segmentBytes: number;
}

/** Two looks at a file are at least so far apart. */
const APART_MS = 200;
/** A file that nobody wrote to for so long is finished. Wide enough for a file server whose clock differs a little. */
const OLD_MS = 60_000;

/** How a file may be stored, by the end of its name. */
const FORMS: Readonly<Record<string, (bytes: Buffer, limit: number) => Promise<Buffer>>> = {
  "": async (bytes) => bytes,
  ".gz": async (bytes, limit) => await promisify(gunzip)(bytes, { maxOutputLength: limit }),
  ".zst": async (bytes, limit) => await promisify(zstdDecompress)(bytes, { maxOutputLength: limit }),
};

/** What compression may add to bytes that cannot be compressed, and more than any history file has. */
const SLACK_BYTES = 2 ** 20;

const SEGMENT_FILE = /^([0-9A-F]{24})(?:\.gz|\.zst)?$/;

/** Opens the folder. Throws a {@link UserError} when it is none, or may not be read. */
export async function openArchiveFolder(options: ArchiveFolderOptions): Promise<ArchiveFolder> {
  const { path, segmentBytes } = options;
  await requireFolder(path);
  /** How each file was at the last look. */
  const seen = new Map<string, { readonly look: string; readonly at: number }>();

  /** Whether nobody seems to write to the file any more. */
  function isSettled(file: string, { look, modifiedMs }: Look): boolean {
    if (Date.now() - modifiedMs > OLD_MS) return true;
    const known = seen.get(file);
    const at = performance.now();
    if (known?.look === look) return at - known.at >= APART_MS;
    seen.set(file, { look, at });
    return false;
  }

  /** Decompressed content of one form; a text says why it does not count. */
  async function readForm(file: string, limit: number): Promise<Buffer | string | undefined> {
    let handle: FileHandle;
    try {
      handle = await open(join(path, file), constants.O_RDONLY);
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined;
      throw unreadable(join(path, file), error);
    }
    try {
      const before = await lookOf(handle);
      if (!isSettled(file, before)) return `${file} has just appeared or is still growing`;
      if (before.bytes > limit + SLACK_BYTES) return `${file} is too large`;
      const bytes = await handle.readFile();
      const after = await lookOf(handle);
      if (after.look !== before.look || bytes.length !== before.bytes) {
        seen.delete(file);
        return `${file} changed while it was read`;
      }
      return await decompress(file, bytes, limit);
    } catch (error) {
      throw unreadable(join(path, file), error);
    } finally {
      await handle.close();
    }
  }

  /** The one content that all whole forms of a file have. `check` says what is wrong with a content. */
  async function read(
    name: string,
    limit: number,
    check: (content: Buffer, file: string) => string | undefined,
  ): Promise<Found> {
    const whole: { file: string; content: Buffer; sha256: string }[] = [];
    let missing: string | undefined;
    for (const form of Object.keys(FORMS)) {
      const file = name + form;
      const content = await readForm(file, limit);
      if (content === undefined) continue;
      const wrong = typeof content === "string" ? content : check(content, file);
      if (typeof content === "string" || wrong !== undefined) missing ??= wrong;
      else whole.push({ file, content, sha256: createHash("sha256").update(content).digest("hex") });
    }
    const [first, ...others] = whole;
    const other = others.find((one) => one.sha256 !== first?.sha256);
    if (first !== undefined && other !== undefined) {
      throw new ToolError(
        `${join(path, first.file)} and ${join(path, other.file)} hold different content under one name: find out which of them the server archived, and remove the other.`,
      );
    }
    if (first === undefined) return { missing: missing ?? `there is no ${name}` };
    for (const form of Object.keys(FORMS)) seen.delete(name + form);
    return { content: first.content };
  }

  function checkSegment(name: string, content: Buffer, file: string): string | undefined {
    if (content.length !== segmentBytes) {
      return `${file} holds ${content.length} bytes, but a segment has ${segmentBytes}`;
    }
    const header = readSegmentHeader(content);
    if (header === undefined) return `${file} does not begin like a segment`;
    const subject = join(path, file);
    if (header.systemIdentifier !== options.systemIdentifier) {
      throw new UserError(
        `${subject} is of the cluster with system identifier ${header.systemIdentifier}, but this server is ${options.systemIdentifier}: correct the folder in wal.archive.`,
      );
    }
    const start = segmentStart(parseSegmentName(name, segmentBytes)?.number ?? 0, segmentBytes);
    if (header.pageAddress === start && header.segmentBytes === segmentBytes) return undefined;
    throw new ToolError(
      `${subject} holds the WAL from ${formatLsn(header.pageAddress)} on, but its name says ${formatLsn(start)}: it was renamed or overwritten.`,
    );
  }

  return {
    path,
    segment: (name) => read(name, segmentBytes, (content, file) => checkSegment(name, content, file)),
    history: (timeline) => read(`${timelineName(timeline)}.history`, SLACK_BYTES, () => undefined),
    async segmentNames() {
      const names = await readdir(path).catch((error: unknown) => {
        throw unreadable(path, error);
      });
      return [
        ...new Set(names.map((name) => SEGMENT_FILE.exec(name)?.[1]).filter((name) => name !== undefined)),
      ];
    },
  };
}

/** The content, or why it cannot be had. */
async function decompress(file: string, bytes: Buffer, limit: number): Promise<Buffer | string> {
  const form = /\.gz$|\.zst$/.exec(file)?.[0] ?? "";
  try {
    return (await FORMS[form]?.(bytes, limit)) ?? bytes;
  } catch (error) {
    return `${file} is not a whole ${form} file (${messageOf(error)})`;
  }
}

async function requireFolder(path: string): Promise<void> {
  const found = await stat(path).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return undefined;
    throw unreadable(path, error);
  });
  if (found?.isDirectory() === true) return;
  throw new UserError(
    `wal.archive names ${path}, which is not a folder on this machine: name the folder that the server's archive_command fills, or mount it.`,
  );
}

interface Look {
  /** What would change if somebody wrote to the file. */
  readonly look: string;
  readonly bytes: number;
  readonly modifiedMs: number;
}

async function lookOf(handle: FileHandle): Promise<Look> {
  const { ino, size, mtimeNs, mtimeMs } = await handle.stat({ bigint: true });
  return { look: `${ino} ${size} ${mtimeNs}`, bytes: Number(size), modifiedMs: Number(mtimeMs) };
}

function unreadable(path: string, error: unknown): ToolError {
  if (error instanceof ToolError) return error;
  return new ToolError(`${path} cannot be read: ${messageOf(error)}.`, { cause: error });
}
