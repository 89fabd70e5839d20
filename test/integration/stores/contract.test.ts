import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { openStore } from "../../../src/stores/open.ts";
import { testContext } from "../../support/context.ts";
import { startS3, type TestS3 } from "../../support/s3.ts";
import { type OpenedStore, storeContract } from "../../support/store-contract.ts";

let s3: TestS3;
let stores = 0;

beforeAll(async () => {
  s3 = await startS3();
});
afterAll(() => s3.close());

storeContract("file", async (): Promise<OpenedStore> => {
  const folder = await mkdtemp(join(tmpdir(), "drillbook-file-store-"));
  const context = await testContext();
  const config = { type: "file", path: join(folder, "made", "later"), prefix: "shop/backups" } as const;
  return {
    store: await openStore(config, "local", context),
    abort: context.abort,
    again: () => openStore(config, "local", context),
    async close() {
      const left = await readdir(folder, { recursive: true });
      await context[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
      expect(left.filter((name) => name.includes("partial"))).toEqual([]);
    },
  };
});

storeContract("s3", async (): Promise<OpenedStore> => {
  const context = await testContext({ env: s3.env });
  stores += 1;
  const { endpoint, bucket } = s3;
  const config = { type: "s3", endpoint, bucket, prefix: `/shop/${stores}/` } as const;
  const store = await openStore(config, "offsite", context);
  return {
    store,
    abort: context.abort,
    again: () => openStore(config, "offsite", context),
    async close() {
      await context[Symbol.asyncDispose]();
      expect(await s3.openUploads()).toEqual([]);
    },
  };
});
