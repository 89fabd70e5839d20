import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { UserError } from "../../../src/errors.ts";
import { loadRunbook } from "../../../src/runbook/load.ts";
import { RunbookError } from "../../../src/runbook/problem.ts";
import { FILE, FULL, problemsIn, runbookOf, SMALL } from "./fixtures.ts";

describe("a sound runbook", () => {
  test("the whole example loads, with durations in seconds and variables as they are written", () => {
    const { config } = runbookOf(FULL);
    expect(config.objectives).toEqual({
      production: { rto: 14_400, rpo: 3_600, protected: true },
      drill: { rto: 5_400, rpo: 86_400, protected: false },
    });
    expect(config.components.db).toMatchObject({
      connection: `\${DATABASE_URL}`,
      retention: { keep: 2_592_000, minimum: 2 },
      freshness: { backup: 93_600, wal: 600 },
      checks: [
        { query: "SELECT count(*) FROM orders", expect: { operator: ">=", operand: "1" } },
        { query: "SELECT max(created_at) FROM orders", "max-age": 3_600 },
        { rows: "orders", tolerance: { unit: "percent", value: 1 } },
      ],
    });
    expect(config.scenarios["database-lost"]?.steps).toHaveLength(5);
    expect(config.scenarios["database-lost"]?.steps[0]).toEqual({
      run: "docker compose stop worker",
      when: "restore",
    });
    expect(config.notify.issue).toBe(true);
  });

  test("the smallest runbook gets its defaults", () => {
    const { config } = runbookOf(SMALL);
    expect(config.components.db).toEqual({
      type: "postgres",
      store: "local",
      connection: `\${DATABASE_URL}`,
      method: "physical",
      wal: { slot: "drillbook" },
      freshness: {},
      objectives: {},
      server: { runtime: "auto", settings: {} },
      checks: [],
      census: "full",
      integrity: true,
      marker: false,
    });
    expect(config).toMatchObject({ scenarios: {}, objectives: {}, contacts: [], documents: [] });
    expect(config.notify).toEqual({ issue: false });
  });

  test("JSON is YAML too", () => {
    const { config } = runbookOf(
      JSON.stringify({
        version: 1,
        service: "shop",
        stores: { local: { type: "file", path: "/backups" } },
        components: { db: { type: "postgres", store: "local", connection: "postgres://app@db/shop" } },
      }),
    );
    expect(config.service).toBe("shop");
  });

  test("anchors may be used in moderation", () => {
    const { config } = runbookOf(`${SMALL}objectives: { a: &common { rto: 1h }, b: *common }\n`);
    expect(config.objectives.b).toEqual({ rto: 3_600, protected: false });
  });

  test("every value can be found again, and an absent one at its nearest ancestor", () => {
    const runbook = runbookOf(FULL);
    const lines = FULL.split("\n");
    const at = (path: (string | number)[]) => {
      const { line, column, file } = runbook.locate(path);
      expect(file).toBe(FILE);
      return lines[line - 1]?.slice(column - 1) ?? "";
    };
    expect(at(["components", "db", "connection"])).toBe(`\${DATABASE_URL}`);
    expect(at(["components", "db", "checks", 2, "tolerance"])).toBe("1%");
    expect(at(["components", "db"])).toBe("db:");
    expect(at(["stores", "offsite", "encryption", "recipients", 0])).toMatch(/^age1.*\]$/);
    expect(at(["components", "db", "wal", "nothing", "below"])).toBe("wal: { slot: drillbook }");
    expect(at(["components", "nobody", "connection"])).toBe("components:");
    expect(at([])).toBe("version: 1");
  });
});

describe("many problems", () => {
  test("all are told at once, in the order of the file, each on its own line", () => {
    const text = `version: 1
service: Shop
stores:
  local: { type: file, pth: /backups }
components:
  db:
    type: postgres
    store: offsite
    connection: postgres://app:hunter2@db/shop
    checks:
      - { query: SELECT 1, expect: = 1 }
scenarios:
  lost: { steps: [{ recover: database }] }
`;
    const problems = problemsIn(text);
    expect(problems.map(({ key, location }) => [location.line, key])).toEqual([
      [2, "service"],
      [4, "stores.local.pth"],
      [8, "components.db.store"],
      [9, "components.db.connection"],
      [11, "components.db.checks[0].query"],
      [13, "scenarios.lost.steps[0].recover"],
    ]);
    const error = new RunbookError(problems);
    expect(error).toBeInstanceOf(UserError);
    expect(error.message.split("\n")).toHaveLength(6);
    expect(error.location).toEqual({ file: FILE, line: 2, column: 10 });
  });
});

describe("the file", () => {
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "drillbook-runbook-"));
  });

  afterAll(() => rm(folder, { recursive: true, force: true }));

  function refusal(name: string): string {
    try {
      loadRunbook(join(folder, name));
    } catch (error) {
      expect(error).toBeInstanceOf(RunbookError);
      return error instanceof Error ? error.message : "";
    }
    throw new Error("The file was accepted.");
  }

  test("is read with a byte order mark and Windows line ends", async () => {
    const path = join(folder, "windows.yml");
    await writeFile(path, `\uFEFF${SMALL.replaceAll("\n", "\r\n")}`);
    const runbook = loadRunbook(path);
    expect(runbook.file).toBe(path);
    expect(runbook.locate(["components", "db", "store"])).toEqual({ file: path, line: 8, column: 12 });
  });

  test("that is absent is named", () => {
    expect(refusal("absent.yml")).toMatch(/^The runbook .*absent\.yml does not exist: create it/);
    expect(refusal("absent/runbook.yml")).toMatch(/does not exist/);
  });

  test("that is a folder is named", async () => {
    await mkdir(join(folder, "sub"));
    expect(refusal("sub")).toMatch(/sub is a folder: name the file in it/);
  });

  test("that is not UTF-8 is refused", async () => {
    await writeFile(join(folder, "latin.yml"), Buffer.from("service: caf\xe9\n", "latin1"));
    expect(refusal("latin.yml")).toMatch(/is not UTF-8 text/);
    await writeFile(join(folder, "utf16.yml"), Buffer.from("\uFEFFversion: 1\n", "utf16le"));
    expect(refusal("utf16.yml")).toMatch(/is not UTF-8 text/);
  });

  test("that is too long is refused", async () => {
    await writeFile(join(folder, "long.yml"), `${SMALL}${"# filler\n".repeat(200_000)}`);
    expect(refusal("long.yml")).toMatch(/has 1\.72 MiB: 1\.00 MiB is the limit/);
  });

  test("with a name that no file can have is refused", () => {
    expect(refusal("a\0b")).toMatch(/can't be read/);
    expect(refusal("x".repeat(300))).toMatch(/can't be read \(ENAMETOOLONG\)/);
  });
});
