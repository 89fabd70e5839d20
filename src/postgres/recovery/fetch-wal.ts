import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { readSettled, type Tap } from "../../archive/second-look.ts";
import { unpack } from "../../archive/unpack.ts";
import { historyKey, timelineName } from "../../catalog/layout.ts";
import { lsn } from "../../catalog/lsn.ts";
import { findSegment, readSidecarOf, sidecarKeyOf, type WalSegment } from "../../catalog/wal.ts";
import { DefectError, ToolError } from "../../errors.ts";
import { ObjectMissing, readAll } from "../../stores/store.ts";
import type { PostgresDetails } from "../details.ts";
import type { StoreSetting } from "../store-setting.ts";
import { createdTablespaces } from "./wal-tablespaces.ts";
import type { WalFile } from "./wal-window.ts";

/** How often a partial may be replaced by a longer one while it is looked for. */
const LOOKS = 10;

/**
 * A segment of the archive: its bytes must be those that its sidecar recorded when it was archived. A partial is filled
 * up with zeros: the server stops before them, because the goal lies within the shipped bytes. Where a run that goes on
 * has replaced a partial by a longer one or by the whole segment, that one serves: it begins with the same bytes.
 */
export function segmentFile(setting: StoreSetting, segment: WalSegment, details: PostgresDetails): WalFile {
  const { store, name: component, encryption } = setting;

  function fetchOne(one: WalSegment, signal: AbortSignal, buffer: Buffer): Promise<Uint8Array> {
    return readSettled(store.describe(one.key), (tap) => read(one, signal, buffer, tap));
  }

  async function read(one: WalSegment, signal: AbortSignal, buffer: Buffer, tap: Tap): Promise<Uint8Array> {
    const subject = store.describe(one.key);
    const sidecar = await readSidecarOf(store, component, one, signal);
    if (sidecar.systemIdentifier !== details.systemIdentifier) {
      throw new DefectError(
        subject,
        `${subject} is of the cluster ${sidecar.systemIdentifier}, but the backup of ${details.systemIdentifier}.`,
      );
    }
    const identity = one.sealed ? encryption.identity() : undefined;
    const stored = tap(await store.get(one.key, { signal }));
    const raw = unpack(stored, {
      subject,
      sealed: one.sealed,
      identity,
      storedBytes: one.storedBytes,
      signal,
    });
    const bytes = await readSegment(raw, buffer.subarray(0, one.partial?.bytes), subject);
    if (createHash("sha256").update(bytes).digest("hex") !== sidecar.sha256) {
      throw new DefectError(
        subject,
        `${subject} was altered: its SHA-256 is not the one recorded when the segment was archived.`,
      );
    }
    buffer.fill(0, bytes.length);
    await refuseForeignFolders(buffer, lsn(details.startLsn), subject);
    return buffer;
  }

  async function fetch(signal: AbortSignal, buffer: Buffer): Promise<Uint8Array> {
    let current = segment;
    for (let look = 1; ; look += 1) {
      try {
        return await fetchOne(current, signal, buffer);
      } catch (error) {
        if (!(error instanceof ObjectMissing)) throw error;
        const { name, partial } = current;
        const found =
          partial === undefined || look === LOOKS
            ? undefined
            : await findSegment(store, component, name, details.walSegmentBytes, signal);
        if (found === undefined || !reaches(found, segment)) throw missingIsDefect(error, current);
        current = found;
      }
    }
  }

  function missingIsDefect(error: ObjectMissing, one: WalSegment): DefectError {
    const sidecar = store.describe(sidecarKeyOf(component, one));
    const gone = error.subject === sidecar ? sidecar : store.describe(one.key);
    return new DefectError(gone, `${gone} is missing: the WAL has a gap.`, { cause: error });
  }

  return { name: segment.name, fetch };
}

/** Whether it holds at least as much of the segment. */
function reaches(found: WalSegment, wanted: WalSegment): boolean {
  return (
    found.partial === undefined || found.partial.bytes >= (wanted.partial?.bytes ?? Number.POSITIVE_INFINITY)
  );
}

/** Fills the buffer, which has the size of a segment, or of a partial. */
async function readSegment(raw: AsyncIterable<Uint8Array>, buffer: Buffer, subject: string): Promise<Buffer> {
  let filled = 0;
  for await (const chunk of raw) {
    if (filled + chunk.length <= buffer.length) buffer.set(chunk, filled);
    filled += chunk.length;
  }
  if (filled === buffer.length) return buffer;
  throw new DefectError(
    subject,
    `${subject} holds ${filled} bytes of WAL, but should have ${buffer.length}: it is damaged.`,
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
