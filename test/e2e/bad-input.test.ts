import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freePort } from "../support/free-port.ts";
import { answerS3Error, troubledProxy } from "../support/http.ts";
import { startS3, type TestS3 } from "../support/s3.ts";
import { filesBelow, leaksOf, openWorld, type World, type WorldResult } from "../support/world.ts";

let world: World;
let s3: TestS3;

beforeAll(async () => {
  s3 = await startS3();
  world = await openWorld();
  await world.server.query("CREATE TABLE orders AS SELECT 1 AS id");
});

afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  await s3?.close();
});

/** Exactly one sentence for people, as an annotation; exit code 1, no stack, nothing left, nothing listed, no secret. */
async function expectOneSentence(result: WorldResult, ...says: RegExp[]): Promise<void> {
  expect(result.exitCode, result.visible).toBe(1);
  expect(result.errors, result.visible).toHaveLength(1);
  const message = result.errors[0] ?? "";
  for (const pattern of says) expect(message).toMatch(pattern);
  expect(message).not.toContain("\n");
  expect(message).toMatch(/[.:)`"]$/);
  expect(message.length).toBeLessThan(400);
  expect(message).not.toContain("mistake in Drillbook");
  expect(result.visible).not.toMatch(/^\s+at .+:\d+:\d+/m);
  expect(result.stderr).toBe("");
  expect(result.leftovers).toEqual([]);
  expect(result.survivors).toEqual([]);
  expect((await filesBelow(world.storeDir)).filter((file) => file.endsWith("manifest.json"))).toEqual([]);
  expect(await leaksOf(world, [result])).toEqual([]);
}

describe("the source", () => {
  test("a wrong password", async () => {
    const url = new URL(world.server.url);
    url.password = "not-the-password";
    const result = await world.run("backup", {}, { env: { DATABASE_URL: url.href } });
    await expectOneSentence(result, /password/i);
    expect(result.visible).not.toContain("not-the-password");
  });

  test("a port where nobody listens", async () => {
    const port = await freePort();
    const result = await world.run(
      "backup",
      {},
      { env: { DATABASE_URL: `postgres://postgres:x-secret@127.0.0.1:${port}/postgres` } },
    );
    await expectOneSentence(result, new RegExp(`127\\.0\\.0\\.1.*${port}`));
  });

  test("a host that does not exist", async () => {
    const result = await world.run(
      "backup",
      {},
      { env: { DATABASE_URL: "postgres://postgres:x-secret@no-such-host.invalid/postgres" } },
    );
    await expectOneSentence(result, /no-such-host\.invalid/);
  });

  test("a database that does not exist", async () => {
    const result = await world.run(
      "backup",
      {},
      { env: { DATABASE_URL: world.server.url.replace(/postgres$/, "nothing") } },
    );
    await expectOneSentence(result, /nothing/);
  });

  test("a text that is no connection URI", async () => {
    const result = await world.run(
      "backup",
      {},
      { env: { DATABASE_URL: "mysql://root:x-secret@localhost/db" } },
    );
    await expectOneSentence(result, /postgres/);
    expect(result.visible).not.toContain("x-secret");
  });

  test("a variable that is not set names the variable and the place", async () => {
    const result = await world.run("backup", {}, { env: { DATABASE_URL: "" } });
    await expectOneSentence(result, /DATABASE_URL/);
  });

  test("a role without the privilege is told what to grant", async () => {
    await world.server.query("CREATE ROLE plain LOGIN PASSWORD 'plain-password'");
    const url = world.server.url.replace(/\/\/[^@]+@/, "//plain:plain-password@");
    const result = await world.run("backup", {}, { env: { DATABASE_URL: url } });
    await expectOneSentence(result, /ALTER ROLE "?plain"? (WITH )?REPLICATION/i);
  });

  test("pg_hba.conf without a line for replication", async () => {
    await using closed = await openWorld({
      postgres: { hba: ["host replication all 127.0.0.1/32 reject"] },
    });
    const result = await closed.run("backup");
    await expectOneSentence(result, /pg_hba\.conf/);
  });

  test("wal_level=minimal", async () => {
    await using minimal = await openWorld({
      postgres: { settings: { wal_level: "minimal", max_wal_senders: 0 } },
    });
    await expectOneSentence(await minimal.run("backup"), /wal_level/);
  });

  test("a slot that another process reads", async () => {
    const { server } = world;
    await server.query("SELECT pg_create_physical_replication_slot('drillbook', true)");
    // biome-ignore lint/suspicious/noExplicitAny: pg has the option but its types do not.
    const reader = new pg.Client({ connectionString: server.url, replication: "true" } as any);
    reader.on("error", () => undefined);
    await reader.connect();
    const [row] = await server.query<{ lsn: string }>("SELECT pg_current_wal_lsn() AS lsn");
    reader.query(`START_REPLICATION SLOT drillbook PHYSICAL ${row?.lsn}`).catch(() => undefined);
    await expect
      .poll(async () => (await server.query("SELECT active FROM pg_replication_slots"))[0]?.active)
      .toBe(true);
    const result = await world.run("backup");
    await reader.end();
    await expectOneSentence(result, /slot.*drillbook|drillbook.*slot/);
    await expect
      .poll(async () => (await server.query("SELECT active FROM pg_replication_slots"))[0]?.active)
      .toBe(false);
    await server.query("SELECT pg_drop_replication_slot('drillbook')");
  });
});

describe("the store", () => {
  const s3Store = () => ({
    type: "s3",
    bucket: s3.bucket,
    endpoint: s3.endpoint,
    region: "us-east-1",
    "path-style": true,
  });

  async function backupInto(store: object, env: Record<string, string> = {}): Promise<WorldResult> {
    const { offsite } = world.runbook.stores as { offsite: { encryption: object } };
    await world.writeRunbook({
      ...world.runbook,
      stores: { offsite: { ...store, encryption: offsite.encryption } },
    });
    try {
      return await world.run("backup", {}, { env: { ...s3.env, ...env } });
    } finally {
      await world.writeRunbook(world.runbook);
    }
  }

  test("a bucket that does not exist", async () => {
    await expectOneSentence(await backupInto({ ...s3Store(), bucket: "no-such-bucket" }), /no-such-bucket/);
  });

  test("no credentials at all", async () => {
    const none = { AWS_ACCESS_KEY_ID: "", AWS_SECRET_ACCESS_KEY: "", AWS_EC2_METADATA_DISABLED: "true" };
    await expectOneSentence(
      await backupInto(s3Store(), { ...none, HOME: "/nonexistent" }),
      /credentials|AWS_ACCESS_KEY_ID/i,
    );
  });

  test("an endpoint where nobody listens", async () => {
    const port = await freePort();
    const result = await backupInto({ ...s3Store(), endpoint: `http://127.0.0.1:${port}` });
    await expectOneSentence(result, new RegExp(String(port)));
  });

  // No S3 server that can stand here has users without a right, or checks signatures, so these answers are given in front of it.
  test.each([
    ["access denied", 403, "AccessDenied", /denied|not allowed|permission|policy/i],
    ["expired credentials", 400, "ExpiredToken", /expired/i],
    ["a wrong secret key", 403, "SignatureDoesNotMatch", /AWS_SECRET_ACCESS_KEY|secret/i],
    ["an unknown access key", 403, "InvalidAccessKeyId", /AWS_ACCESS_KEY_ID|access key/i],
  ])("%s", async (_name, status, code, says) => {
    const proxy = await troubledProxy(s3.endpoint);
    proxy.trouble = (_request, response) => answerS3Error(response, status, code);
    const result = await backupInto({ ...s3Store(), endpoint: proxy.url });
    await proxy.close();
    await expectOneSentence(result, says);
  });

  test("a store without an identity cannot be drilled", async () => {
    const result = await world.run("pitr-drill", {}, { env: { AGE_IDENTITY: "" } });
    expect(result.exitCode).toBe(1);
    expect(result.outputs.verdict).not.toBe("passed");
  });

  test("an empty store: there is nothing to drill", async () => {
    const result = await world.run("pitr-drill");
    expect(result.exitCode).toBe(1);
    expect(result.outputs.verdict).not.toBe("passed");
    expect(result.errors.join()).toMatch(/backup/);
    expect(result.leftovers).toEqual([]);
  });
});

describe("the runbook", () => {
  async function withRunbook(text: string): Promise<WorldResult> {
    await world.writeRunbook(text);
    try {
      return await world.run("backup");
    } finally {
      await world.writeRunbook(world.runbook);
    }
  }

  /** GitHub takes a path in the workspace, relative or absolute, and shows the annotation at that line. */
  function expectPlace(result: WorldResult, line: number): void {
    const { file = "", line: at } = result.annotations[0]?.properties ?? {};
    expect(resolve(world.workspace, file)).toBe(join(world.workspace, ".github/runbook.yml"));
    expect(Number(at)).toBe(line);
  }

  async function original(): Promise<string> {
    return readFile(join(world.workspace, ".github/runbook.yml"), "utf8");
  }

  test("a tab", async () => {
    const text = (await original()).replace("owner: ", "owner:\t");
    const result = await withRunbook(`${text}contacts:\n\t- { role: On-call, contact: x }\n`);
    await expectOneSentence(result, /tab/i);
    expectPlace(result, text.split("\n").length + 1);
  });

  test("an unknown key is named with the nearest known key, its line and column", async () => {
    const text = (await original()).replace("connection:", "conection:");
    const result = await withRunbook(text);
    await expectOneSentence(result, /conection.*connection/s);
    const line = text.split("\n").findIndex((one) => one.includes("conection:")) + 1;
    expectPlace(result, line);
    expect(Number(result.annotations[0]?.properties.col)).toBeGreaterThan(1);
  });

  test("a file that is not there", async () => {
    await expectOneSentence(
      await world.run("backup", { runbook: "nowhere/runbook.yml" }),
      /nowhere\/runbook\.yml/,
    );
  });

  test("a component that is not in it", async () => {
    await expectOneSentence(await world.run("backup", { components: "dbb" }), /dbb.*\bdb\b/s);
  });

  test("a literal password is refused, and not repeated", async () => {
    const text = (await original()).replace(
      /connection: .*/,
      "connection: postgres://me:hunter22secret@db/shop",
    );
    const result = await withRunbook(text);
    await expectOneSentence(result, /connection/);
    expect(result.visible).not.toContain("hunter22secret");
  });
});

describe("the inputs", () => {
  test.each([["yesterday"], ["2026-13-45T00:00:00Z"], ["2026-01-25 14:30:00"], ["lsn:nothing"], ["-15x"]])(
    "the target %j",
    async (target) => {
      const result = await world.run("pitr-drill", { target });
      await expectOneSentence(result, new RegExp(target.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")));
    },
  );

  test.each([
    ["backup", { kind: "incremental" }, /kind.*incremental/],
    ["backup", { prune: "maybe" }, /prune.*maybe/],
    ["pitr-drill", { keep: "perhaps" }, /keep.*perhaps/],
    ["pitr-drill", { "retention-days": "soon" }, /retention-days.*soon/],
    ["pitr-drill", { scenario: "db-lots" }, /db-lots.*db-lost/s],
    ["pitr-drill", { environment: "production" }, /production.*protected/s],
    ["report", { history: "0" }, /history.*0/],
  ])("%s with %j", async (action, inputs, says) => {
    await expectOneSentence(await world.run(action, inputs as unknown as Record<string, string>), says);
  });
});
