import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { UserError } from "../../src/errors.ts";
import { parseRunbook } from "../../src/runbook/load.ts";
import { openService, type Service } from "../../src/service.ts";
import { readAll } from "../../src/stores/store.ts";
import { type TestContext, testContext } from "../support/context.ts";

const RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
const IDENTITY = "AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ";

const RUNBOOK = `version: 1
service: shop
stores:
  sealed:
    type: file
    path: \${BACKUPS}/sealed
    prefix: \${PREFIX:-}
    encryption: { recipients: ["\${RECIPIENT}"], identity: "\${AGE_IDENTITY}" }
  open: { type: file, path: "\${BACKUPS}/open" }
components:
  db: { type: postgres, store: sealed, connection: "\${DATABASE_URL}", primary: "\${PRIMARY_URL}" }
  crm: { type: postgres, store: open, connection: "postgres://crm:\${CRM_PASSWORD}@db/crm" }
`;

let folder: string;
let context: TestContext;
const opened: Service[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "drillbook-service-"));
  context = await testContext({ env: {} });
});

afterEach(async () => {
  for (const service of opened.splice(0)) await service.close();
  await context[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

function serviceWith(env: Record<string, string>): Service {
  const runbook = parseRunbook(RUNBOOK, "runbook.yml");
  const service = openService(runbook, { ...context, env: { BACKUPS: folder, ...env } });
  opened.push(service);
  return service;
}

describe("a store", () => {
  test("is opened where its filled path says", async () => {
    const store = await serviceWith({}).store("open");
    await mkdir(join(folder, "open"), { recursive: true });
    await store.create("db/heartbeat.json", Buffer.from("{}"));
    expect(await readFile(join(folder, "open/db/heartbeat.json"), "utf8")).toBe("{}");
    expect((await readAll(await store.get("db/heartbeat.json"))).toString()).toBe("{}");
  });

  test("takes a prefix from a variable, and none when the variable is not set", async () => {
    expect((await serviceWith({ PREFIX: "shop" }).store("sealed")).describe("x")).toBe(
      join(folder, "sealed/shop/x"),
    );
    expect((await serviceWith({}).store("sealed")).describe("x")).toBe(join(folder, "sealed/x"));
  });

  test("is opened once for all components that use it", async () => {
    const service = serviceWith({});
    const [first, second] = await Promise.all([service.store("open"), service.store("open")]);
    expect(second).toBe(first);
    expect((await service.setting("crm")).store).toBe(first);
  });

  test("whose variable is not set is a sentence with key and line", async () => {
    const service = serviceWith({ BACKUPS: "" });
    await expect(service.store("open")).rejects.toThrow(UserError);
    await expect(service.store("open")).rejects.toThrow(
      "stores.open.path (runbook.yml:9) needs the environment variable BACKUPS, which is not set or empty",
    );
  });

  test("that the runbook does not have is refused with those it has", async () => {
    await expect(serviceWith({}).store("nowhere")).rejects.toThrow(
      'no store "nowhere": choose sealed or open.',
    );
  });
});

describe("a component's setting", () => {
  test("holds what the component needs, with nothing filled that is not used", async () => {
    const setting = await serviceWith({}).setting("crm");
    expect(setting).toMatchObject({
      service: "shop",
      name: "crm",
      config: { type: "postgres", store: "open" },
    });
    expect(setting.encryption.recipients).toEqual([]);
    expect(setting.encryption.identity()).toBeUndefined();
    expect(context.masked).toEqual([]);
  });

  test("fills a connection and masks it, with its password as written and as it is meant", async () => {
    const url = "postgres://app:p%40ss%2Fword@db/shop";
    const setting = await serviceWith({ DATABASE_URL: url }).setting("db");
    expect(setting.fill(["connection"], setting.config.connection)).toBe(url);
    expect(context.masked).toEqual([url, "p%40ss%2Fword", "p@ss/word"]);
  });

  test("fills and masks the primary's too", async () => {
    const url = "postgres://app:hunter2@primary/shop";
    const setting = await serviceWith({ PRIMARY_URL: url }).setting("db");
    const config = setting.config as { readonly primary: string };
    expect(setting.fill(["primary"], config.primary)).toBe(url);
    expect(context.masked).toEqual([url, "hunter2"]);
  });

  test("fills a password within a connection", async () => {
    const setting = await serviceWith({ CRM_PASSWORD: "hunter2" }).setting("crm");
    expect(setting.fill(["connection"], setting.config.connection)).toBe("postgres://crm:hunter2@db/crm");
    expect(context.masked).toContain("hunter2");
  });

  test("names the variable, the key and the line when it is not set", async () => {
    const setting = await serviceWith({}).setting("db");
    expect(() => setting.fill(["connection"], setting.config.connection)).toThrow(
      "components.db.connection (runbook.yml:11) needs the environment variable DATABASE_URL",
    );
  });

  test("is refused for a component that the runbook does not have", async () => {
    await expect(serviceWith({}).setting("toString")).rejects.toThrow(
      'no component "toString": choose db or crm.',
    );
    await expect(serviceWith({}).load("nobody")).rejects.toThrow(UserError);
  });
});

describe("encryption", () => {
  test("asks for the recipients only when something is sealed", async () => {
    const setting = await serviceWith({}).setting("db");
    expect(() => setting.encryption.recipients).toThrow(/environment variable RECIPIENT/);
    const sealing = await serviceWith({ RECIPIENT: `${RECIPIENT}\n` }).setting("db");
    expect(sealing.encryption.recipients).toEqual([RECIPIENT]);
  });

  test("asks for the identity only when something is opened, and masks it first", async () => {
    const setting = await serviceWith({ AGE_IDENTITY: IDENTITY }).setting("db");
    expect(context.masked).toEqual([]);
    expect(setting.encryption.identity()).toBe(IDENTITY);
    expect(context.masked).toContain(IDENTITY);
    const without = await serviceWith({}).setting("db");
    expect(() => without.encryption.identity()).toThrow(
      "stores.sealed.encryption.identity (runbook.yml:8) needs the environment variable AGE_IDENTITY",
    );
  });

  test("takes the whole file that age-keygen writes", async () => {
    const file = `# created: 2026-01-25T14:30:00Z\n# public key: ${RECIPIENT}\n${IDENTITY}\n`;
    const setting = await serviceWith({ AGE_IDENTITY: file }).setting("db");
    expect(setting.encryption.identity()).toBe(IDENTITY);
    expect(context.masked).toContain(IDENTITY);
  });

  test.each(["hunter2", RECIPIENT, `${IDENTITY}\n${IDENTITY}`, "# nothing"])(
    "refuses %j as an identity without showing it",
    async (identity) => {
      const { encryption } = await serviceWith({ AGE_IDENTITY: identity }).setting("db");
      expect(() => encryption.identity()).toThrow(UserError);
      expect(() => encryption.identity()).toThrow(
        /^stores\.sealed\.encryption\.identity \(runbook\.yml:8\) must be one age/,
      );
      expect(() => encryption.identity()).not.toThrow(identity);
      expect(context.masked).toContain(identity);
    },
  );
});

test("closing closes the stores that were opened, also after one could not be", async () => {
  const service = serviceWith({});
  const store = await service.store("open");
  await expect(service.store("nowhere")).rejects.toThrow(UserError);
  let closed = 0;
  store.close = () => {
    closed += 1;
  };
  await service.close();
  await service.close();
  expect(closed).toBe(1);
});

test("the code of a component is loaded by its type", async () => {
  const component = await serviceWith({}).load("db");
  expect(component).toMatchObject({ backup: expect.any(Function), recover: expect.any(Function) });
});
