import { CreateBucketCommand, ListMultipartUploadsCommand, S3Client } from "@aws-sdk/client-s3";
import { beforeAll, expect, test } from "vitest";
import { openStore } from "../../../src/stores/open.ts";
import { testContext } from "../../support/context.ts";
import { type OpenedStore, storeContract } from "../../support/store-contract.ts";

const endpoint = "http://127.0.0.1:9917";
const env = { AWS_ACCESS_KEY_ID: "minioadmin", AWS_SECRET_ACCESS_KEY: "minioadmin" };
const bucket = `b${Date.now()}`;
const client = new S3Client({
  endpoint,
  region: "us-east-1",
  forcePathStyle: true,
  credentials: { accessKeyId: "minioadmin", secretAccessKey: "minioadmin" },
});
let stores = 0;
beforeAll(async () => {
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
});
storeContract("minio", async (): Promise<OpenedStore> => {
  const context = await testContext({ env });
  stores += 1;
  const config = { type: "s3", endpoint, bucket, prefix: `/shop/${stores}/` } as const;
  const store = await openStore(config, "offsite", context);
  return {
    store,
    again: () => openStore(config, "offsite", context),
    async close() {
      const left = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
      expect(left.Uploads ?? []).toEqual([]);
      for (const l of context.lines) console.log(l);
      await context[Symbol.asyncDispose]();
    },
  };
});
test("two creates race", async () => {
  const context = await testContext({ env });
  const config = { type: "s3", endpoint, bucket, prefix: "race" } as const;
  const all = await Promise.all([1, 2, 3, 4].map(() => openStore(config, "offsite", context)));
  for (let i = 0; i < 20; i++) {
    const won = await Promise.all(all.map((s, n) => s.create(`k${i}`, Buffer.from(`${n}`))));
    expect(won.filter(Boolean)).toHaveLength(1);
  }
});
test("errors", async () => {
  for (const [over, e] of [
    [{ bucket: "nope" }, {}],
    [{}, { AWS_SECRET_ACCESS_KEY: "wrong" }],
    [{}, { AWS_ACCESS_KEY_ID: "wrong" }],
    [{}, { AWS_SESSION_TOKEN: "wrong" }],
  ] as const) {
    const context = await testContext({ env: { ...env, ...e } });
    const s = await openStore({ type: "s3", endpoint, bucket, ...over }, "offsite", context);
    const it = (async function* () {
      yield Buffer.from("x");
    })();
    for (const f of [
      () => s.put("a", it),
      () => s.get("a"),
      () => s.stat("a"),
      () => s.delete(["a"]),
      () => s.list("")[Symbol.asyncIterator]().next(),
      () => s.create("x", Buffer.from("x")),
    ]) {
      console.log(
        await f().then(
          (v) => String(v),
          (x) => `${x.constructor.name} ${x.message}`,
        ),
      );
    }
  }
});
