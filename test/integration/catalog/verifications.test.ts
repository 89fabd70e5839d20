import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { verificationKey } from "../../../src/catalog/layout.ts";
import { readVerifications, recordVerification } from "../../../src/catalog/verifications.ts";
import { openStore } from "../../../src/stores/open.ts";
import { readAll, type Store } from "../../../src/stores/store.ts";
import { type TestContext, testContext } from "../../support/context.ts";

const ID = "20260125T120000Z-abcdef";
const AT = "2026-01-26T03:00:00Z";

let context: TestContext;
let store: Store;

beforeEach(async () => {
  context = await testContext();
  store = await openStore({ type: "file", path: join(context.workDir, "store") }, "local", context);
});
afterEach(async () => {
  store.close();
  await context[Symbol.asyncDispose]();
});

test("a verification is noted for one backup of one component", async () => {
  expect(await readVerifications(store, "db", context.signal)).toEqual(new Map());
  await recordVerification(store, "db", { backupId: ID, depth: "checksums", at: AT }, context.signal);
  const found = await readVerifications(store, "db", context.signal);
  expect([...found.keys()]).toEqual([ID]);
  expect(found.get(ID)).toMatchObject({ component: "db", backupId: ID, depth: "checksums", at: AT });
  expect(await readVerifications(store, "other", context.signal)).toEqual(new Map());
});

test("a second verification changes nothing of the first", async () => {
  await recordVerification(store, "db", { backupId: ID, depth: "restore", at: AT }, context.signal);
  await recordVerification(
    store,
    "db",
    { backupId: ID, depth: "checksums", at: "2026-02-01T03:00:00Z" },
    context.signal,
  );
  expect((await readVerifications(store, "db", context.signal)).get(ID)).toMatchObject({
    depth: "restore",
    at: AT,
  });
});

test("a note that was copied to another backup, or is damaged, proves nothing", async () => {
  await recordVerification(store, "db", { backupId: ID, depth: "checksums", at: AT }, context.signal);
  const note = await readAll(await store.get(verificationKey("db", ID)));
  await store.create(verificationKey("db", "20260126T120000Z-abcdef"), note);
  await store.create(verificationKey("db", "20260127T120000Z-abcdef"), Buffer.from('{ "schema": "dri'));
  expect([...(await readVerifications(store, "db", context.signal)).keys()]).toEqual([ID]);
});

test("other objects in the folder are left alone", async () => {
  await store.create("db/verified/notes.json", Buffer.from("mine"));
  await store.create("db/verified/readme.txt", Buffer.from("mine"));
  expect(await readVerifications(store, "db", context.signal)).toEqual(new Map());
});
