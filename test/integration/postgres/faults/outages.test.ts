import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { listBackupIds } from "../../../../src/catalog/backups.ts";
import { DefectError, ToolError } from "../../../../src/errors.ts";
import type { Fault } from "../../../support/faulty-proxy.ts";
import { ask } from "../recovering.ts";
import { keysOf } from "../taking.ts";
import {
  addOrders,
  auditPlace,
  CONTENT,
  contentOf,
  type FaultyPlace,
  type FaultySource,
  openFaultySource,
} from "./faulty-source.ts";

/* A store that fails all the time: nothing goes on for longer than the runbook's patience, and nothing is proven by it. */
const WITHIN_MS = 500;
const IDLE_MS = 1_500;
/** Patience, a last attempt that runs into silence, and what is cleaned up; generous for a slow machine. */
const MOST_MS = 30_000;

type Work = "full" | "wal" | "recovery";

/** What each fault makes impossible when it always happens. A body that breaks off can still come to its end. */
const IMPOSSIBLE: readonly (readonly [Fault, readonly Work[]])[] = [
  ["error", ["full", "wal", "recovery"]],
  ["throttle", ["full", "wal", "recovery"]],
  ["reset", ["full", "wal", "recovery"]],
  ["reset-up", ["full", "wal"]],
  ["reset-down", []],
  ["short", []],
  ["stall", []],
  ["flip-down", ["full", "wal", "recovery"]],
  ["flip-up", ["full", "wal"]],
  ["lost-answer", []],
];

let source: FaultySource;
let place: FaultyPlace;
let id: string | undefined;

beforeAll(async () => {
  source = await openFaultySource();
  const tuning = { idleMs: IDLE_MS, connectMs: 5_000 };
  place = await source.open({ seed: 1, tuning, withinMs: WITHIN_MS, stallMs: 60_000 });
  id = await place.backup("full");
  await addOrders(source.server);
  await place.backup("wal");
});
afterAll(async () => {
  await place[Symbol.asyncDispose]();
  await source[Symbol.asyncDispose]();
});

async function outcomeOf(work: Promise<unknown>): Promise<{ error: unknown; ms: number }> {
  const began = performance.now();
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return { error, ms: performance.now() - began };
}

const WORKS: Readonly<Record<Work, () => Promise<unknown>>> = {
  full: () => place.backup("full"),
  wal: () => place.backup("wal"),
  recovery: async () => (await place.recover()).dispose(),
};

describe("with every request spoiled by", () => {
  afterEach(() => {
    place.proxy.rules = [];
  });

  test.each(IMPOSSIBLE)(
    "%s, work ends in time, in a sentence where it cannot succeed",
    async (fault, impossible) => {
      const before = place.proxy.counts[fault];
      place.proxy.rules = [{ fault, rate: 1 }];
      for (const [name, work] of Object.entries(WORKS)) {
        const { error, ms } = await outcomeOf(work());
        expect(ms).toBeLessThan(MOST_MS);
        if (error === undefined) {
          expect(impossible).not.toContain(name);
          continue;
        }
        expect(error).not.toBeInstanceOf(DefectError);
        expect(error).toBeInstanceOf(ToolError);
        expect(String(error)).toMatch(
          /s3:\/\/backups\/place-\d+\/.*(try again|run (it|this) again|use https)/s,
        );
        expect(String(error)).not.toContain("\n");
      }
      expect(place.proxy.counts[fault]).toBeGreaterThan(before);
    },
  );

  const deeper: readonly (readonly [string, Fault, string, Work])[] = [
    ["a wrong bit in every reading of the base archive", "flip-down", "GET .*/base.tar", "recovery"],
    [
      "a wrong bit in every reading of PostgreSQL's list of files",
      "flip-down",
      "GET .*/backup_manifest",
      "recovery",
    ],
    ["a wrong bit in every reading of WAL", "flip-down", "GET .*/wal/.*zst", "recovery"],
    ["a reset in place of every byte of WAL", "reset", "GET .*/wal/.*zst", "recovery"],
    ["a refusal of the manifest", "error", "PUT .*/manifest.json", "full"],
    ["a manifest that is refused as a lost answer", "reset-up", "PUT .*/manifest.json", "full"],
  ];

  test.each(deeper)("%s, nothing is said of the backup", async (_title, fault, pattern, work) => {
    const where = (method: string, url: string) => new RegExp(`^${pattern}`).test(`${method} ${url}`);
    const listed = await listBackupIds(place.direct, "db");
    const before = place.proxy.counts[fault];
    place.proxy.rules = [{ fault, rate: 1, where }];
    const { error, ms } = await outcomeOf(WORKS[work]());
    expect(ms).toBeLessThan(MOST_MS);
    expect(error).not.toBeInstanceOf(DefectError);
    expect(error).toBeInstanceOf(ToolError);
    expect(String(error)).toMatch(/s3:\/\/backups\/place-\d+\/.*try again/);
    expect(place.proxy.counts[fault]).toBeGreaterThan(before);
    expect(await listBackupIds(place.direct, "db")).toEqual(listed);
    const parts = (await keysOf(place.direct, "db/backups/")).map((key) => key.split("/")[2]);
    expect([...new Set(parts)]).toEqual(listed);
  });

  test("any of them, the store serves again afterwards, and every backup it lists is whole", async () => {
    expect(await listBackupIds(place.direct, "db")).toContain(id);
    await addOrders(source.server);
    await place.backup("wal");
    await auditPlace(place);
    const expected = await contentOf(source.server);
    const recovered = await place.recover();
    try {
      expect(await ask(recovered, CONTENT)).toBe(expected);
    } finally {
      await recovered.dispose();
    }
  });
});
