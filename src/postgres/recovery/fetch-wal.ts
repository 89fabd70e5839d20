import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { unpack } from "../../archive/unpack.ts";
import { historyKey, sidecarKey, timelineName } from "../../catalog/layout.ts";
import { lsn } from "../../catalog/lsn.ts";
import { readSidecar, type WalSegment } from "../../catalog/wal.ts";
import { DefectError, ToolError } from "../../errors.ts";
import { ObjectMissing, readAll } from "../../stores/store.ts";
import type { PostgresDetails } from "../details.ts";
import type { StoreSetting } from "../store-setting.ts";
import { createdTablespaces } from "./wal-tablespaces.ts";
import type { WalFile } from "./wal-window.ts";

/** A segment of the archive: its bytes must be those that its sidecar recorded when it was archived. */
export function segmentFile(setting: StoreSetting, segment: WalSegment, details: PostgresDetails): WalFile {
  const { store, name: component, encryption } = setting;
  const subject = store.describe(segment.key);

  async function fetch(signal: AbortSignal, buffer: Buffer): Promise<Uint8Array> {
    const sidecar = await readSidecar(store, component, segment.name, signal);
    if (sidecar.systemIdentifier !== details.systemIdentifier) {
      throw new DefectError(
        subject,
        `${subject} is of the cluster ${sidecar.systemIdentifier}, but the backup of ${details.systemIdentifier}.`,
      );
    }
    const identity = segment.sealed ? encryption.identity() : undefined;
    const stored = await store.get(segment.key, { signal });
    const raw = unpack(stored, {
      subject,
      sealed: segment.sealed,
      identity,
      storedBytes: segment.storedBytes,
      signal,
    });
    const bytes = await readSegment(raw, buffer, subject);
    if (createHash("sha256").update(bytes).digest("hex") !== sidecar.sha256) {
      throw new DefectError(
        subject,
        `${subject} was altered: its SHA-256 is not the one recorded when the segment was archived.`,
      );
    }
    await refuseForeignFolders(bytes, lsn(details.startLsn), subject);
    return bytes;
  }

  return { name: segment.name, fetch: (signal, buffer) => fetch(signal, buffer).catch(missingIsDefect) };

  function missingIsDefect(error: unknown): never {
    if (!(error instanceof ObjectMissing)) throw error;
    const gone =
      error.subject === store.describe(sidecarKey(component, segment.name)) ? error.subject : subject;
    throw new DefectError(gone, `${gone} is missing: the WAL has a gap.`, { cause: error });
  }
}

/** Fills the buffer, which has the size of a segment. */
async function readSegment(raw: AsyncIterable<Uint8Array>, buffer: Buffer, subject: string): Promise<Buffer> {
  let filled = 0;
  for await (const chunk of raw) {
    if (filled + chunk.length <= buffer.length) buffer.set(chunk, filled);
    filled += chunk.length;
  }
  if (filled === buffer.length) return buffer;
  throw new DefectError(
    subject,
    `${subject} holds ${filled} bytes of WAL, but a segment has ${buffer.length}: it is damaged.`,
  );
}

/**
 * Replay of CREATE TABLESPACE would write into a folder that is not ours, when there is such a folder: on the source's own
 * machine, into the source. Where there is none, PostgreSQL itself refuses.
 */
async function refuseForeignFolders(segment: Buffer, from: bigint, subject: string): Promise<void> {
  for (const folder of createdTablespaces(segment, from)) {
    if ((await stat(folder).catch(() => undefined)) === undefined) continue;
    throw new ToolError(
      `${subject} creates a tablespace in ${folder}, which exists on this machine: the recovery would write into it. Take a new backup, which holds the tablespace, or recover on another machine.`,
    );
  }
}

/** A timeline's history file, as the server sent it. */
export function historyFile(setting: StoreSetting, timeline: number): WalFile {
  const { store, name } = setting;
  const key = historyKey(name, timeline);
  return {
    name: `${timelineName(timeline)}.history`,
    async fetch(signal) {
      try {
        return await readAll(await store.get(key, { signal }));
      } catch (error) {
        if (!(error instanceof ObjectMissing)) throw error;
        const subject = store.describe(key);
        throw new DefectError(subject, `${subject} is missing: timeline ${timeline} cannot be followed.`, {
          cause: error,
        });
      }
    },
  };
}
