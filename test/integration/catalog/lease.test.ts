import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { HeldLease } from "../../../src/catalog/held-lease.ts";
import { leaseKey, leasePrefix, manifestKey, objectKey } from "../../../src/catalog/layout.ts";
import { type Busy, type LeaseRequest, takeLease, waitForLease } from "../../../src/catalog/lease.ts";
import { type LeaseDocument, readLease } from "../../../src/catalog/lease-objects.ts";
import { removeOrphans } from "../../../src/catalog/orphans.ts";
import { AbortedError, ToolError } from "../../../src/errors.ts";
import { openStore } from "../../../src/stores/open.ts";
import type { Store } from "../../../src/stores/store.ts";
import { type TestContext, testContext } from "../../support/context.ts";
import { type S3World, startS3World } from "../../support/s3-world.ts";
import { planting } from "./planting.ts";

const TIMING = { expiry: 600, renewEvery: 100, skew: 300, lookEvery: 20 };

let context: TestContext;
let store: Store;
const held: HeldLease[] = [];

beforeEach(async () => {
  context = await testContext();
  store = await openStore({ type: "file", path: join(context.workDir, "store") }, "local", context);
});
afterEach(async () => {
  for (const lease of held.splice(0)) await lease.release();
  store.close();
  await context[Symbol.asyncDispose]();
});

function request(more: Partial<LeaseRequest> = {}): LeaseRequest {
  return { store, component: "db", kind: "full", waitSeconds: 0, yields: false, timing: TIMING, ...more };
}

async function take(more: Partial<LeaseRequest> = {}): Promise<HeldLease> {
  const lease = await takeLease(request(more), context);
  if ("who" in lease) throw new Error(`It is held by ${lease.who}.`);
  held.push(lease);
  return lease;
}

async function refused(more: Partial<LeaseRequest> = {}): Promise<Busy> {
  const busy = await takeLease(request(more), context);
  if ("who" in busy) return busy;
  held.push(busy);
  throw new Error("It was free.");
}

async function newest(): Promise<LeaseDocument | undefined> {
  return (await readLease(store, "db", context.signal))?.newest.document;
}

/** A store of a run that can no longer reach it: its lease is not renewed. */
function dying(): Store & { dead: boolean } {
  const mortal = {
    ...store,
    dead: false,
    async create(key: string, body: Uint8Array, signal?: AbortSignal): Promise<boolean> {
      if (mortal.dead) throw new ToolError("The network is gone.");
      return await store.create(key, body, signal);
    },
  };
  return mortal;
}

describe("a lease", () => {
  test("is one run's until that has ended, and then the next one's", async () => {
    const first = await take();
    expect((await refused()).who).toMatch(/^the full backup of process \d+ on .*, at work since 20/);
    await first.release();
    expect(await waitForLease(request(), context)).toBeUndefined();
    const second = await take({ kind: "wal" });
    await expect(first.assertHeld()).rejects.toThrow(ToolError);
    await second.assertHeld();
    expect((await newest())?.kind).toBe("wal");
  });

  test("goes to exactly one of many that want it at once", async () => {
    const all = await Promise.all(Array.from({ length: 8 }, () => takeLease(request(), context)));
    const winners = all.filter((one) => !("who" in one));
    expect(winners).toHaveLength(1);
    for (const one of winners) if (!("who" in one)) held.push(one);
  });

  test("lives for as long as it is renewed, however much longer than it was given for", async () => {
    const lease = await take();
    await sleep(2 * (TIMING.expiry + TIMING.skew));
    await refused();
    await lease.assertHeld();
    // Renewed ones are cleared away.
    expect((await planting(store).keys(leasePrefix("db"))).length).toBeLessThanOrEqual(2);
  });

  test("of a run that died is taken over, which the log says", async () => {
    const mortal = dying();
    await take({ store: mortal });
    mortal.dead = true;
    await refused();
    await take({ waitSeconds: 10 });
    const lines = context.lines.join("\n");
    expect(lines).toMatch(
      /db: the full backup of process \d+ on .*, holds the lease \(until 20.*waiting up to 10 s/,
    );
    expect(lines).toMatch(/has ended without a word, so this run takes its place/);
  });

  test("that was lost stops the run that had it before it deletes, creates or puts anything", async () => {
    const mortal = dying();
    const first = await take({ store: mortal });
    await first.store.create("db/thing", Buffer.from("a"));
    mortal.dead = true;
    await take({ waitSeconds: 10 });
    mortal.dead = false;
    const sentence = /Another run has taken the lease of "db" over \(process \d+ on .*\).* Run it again\./;
    await expect(first.store.delete(["db/thing"])).rejects.toThrow(sentence);
    await expect(first.store.create("db/other", Buffer.from("b"))).rejects.toThrow(sentence);
    await expect(first.store.put("db/other", none())).rejects.toThrow(sentence);
    expect(await planting(store).keys("db/thing")).toEqual(["db/thing"]);
    expect(await planting(store).keys("db/other")).toEqual([]);
  });

  test("that was not renewed in time but that nobody took is held on", async () => {
    const mortal = dying();
    const lease = await take({ store: mortal });
    mortal.dead = true;
    await sleep(TIMING.expiry + 100);
    mortal.dead = false;
    await lease.assertHeld();
    await refused();
  });

  test.each([
    ["ahead", 1],
    ["behind", -1],
  ])("is not taken by a run whose clock is %s by what is documented", async (_what, sign) => {
    await take();
    const shifted = { ...context, now: () => new Date(Date.now() + sign * TIMING.skew) };
    const busy = await takeLease(request({ waitSeconds: 1 }), shifted);
    expect("who" in busy).toBe(true);
  });

  test("of a dead run whose clock was far ahead is taken once it was watched for long enough", async () => {
    const number = await plant({ expiresAt: "2999-01-01T00:00:00.000Z" });
    await take({ waitSeconds: 10 });
    expect((await readLease(store, "db", context.signal))?.newest.number).toBeGreaterThan(number);
  });

  test("that cannot be read is watched like any other, and is no obstacle for ever", async () => {
    await store.create(leaseKey("db", 7), Buffer.from("{"));
    await refused();
    await take({ waitSeconds: 10 });
  });

  test("can be waited for no longer than the run is told to, or until it is stopped", async () => {
    await take();
    const waiting = takeLease(request({ waitSeconds: 600 }), context);
    waiting.catch(() => undefined);
    await sleep(100);
    context.abort();
    await expect(waiting).rejects.toThrow(AbortedError);
  });

  async function plant(more: Partial<LeaseDocument>): Promise<number> {
    const document: LeaseDocument = {
      schema: "drillbook/lease/v1",
      token: "other",
      holder: "https://example.com/runs/1",
      kind: "full",
      startedAt: "2026-01-25T12:00:00.000Z",
      expiresAt: "2026-01-25T12:02:00.000Z",
      released: false,
      ...more,
    };
    await store.create(leaseKey("db", 41), Buffer.from(JSON.stringify(document)));
    return 41;
  }
});

describe("a run that leaves its work to another one", () => {
  test("does so only when it has seen that one live", async () => {
    await take();
    const busy = await refused({ kind: "wal", yields: true, waitSeconds: 30 });
    expect(busy).toMatchObject({ alive: true, kind: "full" });
  });

  test("takes the place of one that is dead", async () => {
    const mortal = dying();
    await take({ store: mortal });
    mortal.dead = true;
    await take({ kind: "wal", yields: true, waitSeconds: 30 });
  });

  test("does not leave it to a retention, which archives nothing", async () => {
    await take({ kind: "prune" });
    expect(await refused({ kind: "wal", yields: true, waitSeconds: 1 })).toMatchObject({ kind: "prune" });
  });
});

describe("what killed runs left", () => {
  test("goes when the next run has the lease: parts with no manifest and temporary files, but nothing of others", async () => {
    const { write, plantBackup, keys } = planting(store);
    const whole = await plantBackup("000001", 1);
    const dead = "20200101T000000Z-00dead";
    const mixed = "20990101T000000Z-00beef";
    for (const id of [dead, mixed]) await write(objectKey("db", id, "base.tar.zst"), "part");
    await write(objectKey("db", mixed, "mine.txt"), "not ours");
    await write("db/backups/mine/base.tar.zst", "not ours");
    await write("other/backups/20200101T000000Z-00dead/base.tar.zst", "another component's");
    const folder = join(context.workDir, "store", "db");
    const { readdir, writeFile } = await import("node:fs/promises");
    await writeFile(join(folder, "backups", ".drillbook-1-abcdef.partial"), "half");
    await writeFile(join(folder, "backups", "mine", "notes.partial"), "not ours");
    await sleep(20);

    const lease = await take();
    const living = "20990101T000000Z-00face";
    await write(objectKey("db", living, "base.tar.zst"), "of this very run");
    await writeFile(join(folder, ".drillbook-2-abcdef.partial"), "of a writer at work");
    await removeOrphans(lease, "db", context);

    expect((await keys("db/backups/")).toSorted()).toEqual(
      [
        manifestKey("db", whole),
        objectKey("db", whole, "base.tar.zst"),
        objectKey("db", living, "base.tar.zst"),
        objectKey("db", mixed, "mine.txt"),
        "db/backups/mine/base.tar.zst",
        "db/backups/mine/notes.partial",
      ].toSorted(),
    );
    expect(await keys("other/")).toHaveLength(1);
    const left = await readdir(folder, { recursive: true });
    expect(left.filter((name) => name.includes(".drillbook-"))).toEqual([".drillbook-2-abcdef.partial"]);
    expect(context.lines.join("\n")).toMatch(
      /deleted the parts of 20200101T000000Z-00dead, a backup that was never/,
    );
  });
});

describe("in a bucket", () => {
  let world: S3World;

  beforeEach(async () => {
    world = await startS3World();
  });
  afterEach(async () => {
    for (const lease of held.splice(0)) await lease.release();
    await world.close();
  });

  test("one run holds the lease, also where creations are not exclusive, which a warning says once", async () => {
    const [one, two] = [await world.open(), await world.open()];
    const lease = await take({ store: one.store });
    expect(await refused({ store: two.store })).toBeDefined();
    await sleep(TIMING.expiry);
    await lease.assertHeld();
    const warnings = one.context.lines.filter((line) => line.startsWith("warning"));
    expect(warnings).toEqual([expect.stringMatching(/offsite.*If-None-Match.*at the same moment/)]);
  });

  test("uploads that a killed run never completed are aborted, those of this run are not", async () => {
    const { store: bucket } = await world.open();
    const uploads = new Map<string, string>();
    const old = new Date(Date.now() - 60_000).toISOString();
    const fresh = new Date(Date.now() + 60_000).toISOString();
    for (const [key, initiated] of [
      ["shop/db/backups/x/base.tar.zst", old],
      ["shop/db/wal/y.zst", fresh],
      ["shop/other/z", old],
    ] as const) {
      uploads.set(key, initiated);
    }
    const aborted: string[] = [];
    world.proxy.trouble = (incoming, response) => {
      const url = new URL(incoming.url ?? "/", "http://s3");
      if (incoming.method === "GET" && url.searchParams.has("uploads")) {
        const items = [...uploads].map(
          ([key, at]) =>
            `<Upload><Key>${key}</Key><UploadId>1</UploadId><Initiated>${at}</Initiated></Upload>`,
        );
        response.writeHead(200, { "content-type": "application/xml" });
        response.end(`<ListMultipartUploadsResult>${items.join("")}</ListMultipartUploadsResult>`);
        return true;
      }
      if (incoming.method !== "DELETE" || !url.searchParams.has("uploadId")) return false;
      aborted.push(url.pathname);
      response.writeHead(204).end();
      return true;
    };
    expect(await bucket.removeUnfinished("db/", new Date())).toBe(1);
    expect(aborted).toEqual(["/backups/shop/db/backups/x/base.tar.zst"]);
  });

  test("a store that does not tell of its uploads is no failure", async () => {
    const { store: bucket, context: own } = await world.open();
    world.proxy.trouble = (_incoming, response) => {
      response.writeHead(403, { "content-type": "application/xml" });
      response.end("<Error><Code>AccessDenied</Code><Message>no</Message></Error>");
      return true;
    };
    expect(await bucket.removeUnfinished("db/", new Date())).toBe(0);
    expect(own.lines.join("\n")).toMatch(/s3:ListBucketMultipartUploads/);
  });
});

async function* none(): AsyncGenerator<Uint8Array> {}
