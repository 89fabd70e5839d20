import { expect } from "vitest";
import { encodeDocument } from "../../../src/catalog/documents.ts";
import {
  manifestKey,
  objectKey,
  partialKey,
  partialSidecarKey,
  segmentKey,
  sidecarKey,
} from "../../../src/catalog/layout.ts";
import { segmentName } from "../../../src/catalog/lsn.ts";
import type { BackupManifest } from "../../../src/catalog/manifest.ts";
import type { Store } from "../../../src/stores/store.ts";

export const MIB = 2 ** 20;
export const DAY_MS = 86_400_000;

export function manifestOf(id: string, finishedAt: Date, firstSegment = 1): BackupManifest {
  return {
    schema: "drillbook/backup-manifest/v1",
    id,
    service: "shop",
    component: "db",
    type: "postgres",
    method: "physical",
    startedAt: finishedAt.toISOString(),
    finishedAt: finishedAt.toISOString(),
    objects: [
      {
        name: "base.tar.zst",
        role: "archive",
        sealed: false,
        rawBytes: 10,
        storedBytes: 4,
        storedSha256: "00",
        frameBytes: 4,
        frames: [4],
      },
    ],
    details: { firstSegment },
  };
}

export type Planting = ReturnType<typeof planting>;

/** Writes what a component would have written, without a server. */
export function planting(store: Store) {
  async function write(key: string, content: string | Buffer): Promise<void> {
    expect(await store.create(key, Buffer.from(content))).toBe(true);
  }

  /** A whole backup, taken so many days ago. */
  async function plantBackup(suffix: string, daysAgo: number, firstSegment = 1): Promise<string> {
    const at = new Date(Date.now() - daysAgo * DAY_MS);
    const id = `${at.toISOString().replace(/[-:]|\.\d+/g, "")}-${suffix}`;
    await write(objectKey("db", id, "base.tar.zst"), "data");
    await write(manifestKey("db", id), encodeDocument(manifestOf(id, at, firstSegment)));
    return id;
  }

  async function plantSegment(timeline: number, number: number, point?: string): Promise<string> {
    const segment = segmentName(timeline, number, MIB);
    const restorePoint = point && { name: point, lsn: "0/1", time: "2026-01-25T12:00:00.000000Z" };
    await write(
      sidecarKey("db", segment),
      encodeDocument({
        schema: "drillbook/wal-segment/v1",
        segment,
        systemIdentifier: "7",
        sha256: "00",
        bytes: MIB,
        archivedAt: "2026-01-25T12:00:00Z",
        ...(restorePoint ? { restorePoint } : {}),
      }),
    );
    await write(segmentKey("db", segment, false), "wal");
    return segment;
  }

  /** The two objects of a partial. */
  async function plantPartial(timeline: number, number: number, bytes: number): Promise<string[]> {
    const segment = segmentName(timeline, number, MIB);
    const both = [partialSidecarKey("db", segment, bytes), partialKey("db", segment, bytes, false)];
    const sidecar = {
      schema: "drillbook/wal-partial/v1",
      segment,
      systemIdentifier: "7",
      sha256: "00",
      bytes,
    };
    await write(both[0] ?? "", encodeDocument({ ...sidecar, archivedAt: "2026-01-25T12:00:00Z" }));
    await write(both[1] ?? "", "wal");
    return both;
  }

  async function keys(prefix = ""): Promise<string[]> {
    const found: string[] = [];
    for await (const object of store.list(prefix)) found.push(object.key);
    return found;
  }

  return { write, plantBackup, plantSegment, plantPartial, keys };
}
