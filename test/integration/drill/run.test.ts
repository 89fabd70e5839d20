import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { RECORD_IN_STORE, RECORD_NOT_STORED } from "../../../src/drill/facts.ts";
import { AbortedError, DefectError, ToolError, UserError } from "../../../src/errors.ts";
import { drillRecord, type Step } from "../../../src/record.ts";
import { readAll } from "../../../src/stores/store.ts";
import { DB, fakeWorld } from "./fake.ts";
import { pidIn, untilEnded } from "./processes.ts";

const OTHER = `  other:
    type: postgres
    store: local
    connection: \${OTHER_URL}
    checks: [{ query: SELECT count(*) FROM t, expect: ">= 1" }]
`;

function scenario(steps: string): string {
  return `${DB}scenarios:\n  lost:\n    steps:\n${steps
    .trim()
    .split("\n")
    .map((line) => `      ${line.trim()}`)
    .join("\n")}\n`;
}

function outline(steps: readonly Step[]): string[] {
  return steps.map((step) => `${step.title}: ${step.status}`);
}

describe("a drill that proves everything", () => {
  it("is passed, and its record is in the report folder and in the store", async () => {
    await using world = await fakeWorld();
    const { record, recordPath } = await world.drill();
    expect(record).toMatchObject({ verdict: "passed", reasons: [], scenario: "db", operator: "octocat" });
    expect(record.achieved).toEqual({ rtoSeconds: expect.any(Number), rpoSeconds: 2.2 });
    expect(outline(record.steps)).toEqual(["Recover db: passed", "Check db: passed"]);
    expect(record.steps[0]?.phases).toEqual([{ name: "fetch", seconds: 0.001, bytes: 10 }]);
    expect(record.recoveries[0]?.reached.firstCommitAfter).toBe("2026-01-25T14:30:00.103456Z");
    expect(record.environmentFacts).toMatchObject({
      postgres: "17.5",
      runner: "test",
      target: "2026-01-25T14:30:00Z",
    });

    expect(recordPath).toBe(join(world.reportDir, `${record.id}.json`));
    expect(await readdir(world.reportDir)).toEqual([`${record.id}.json`]);
    expect(drillRecord.parse(JSON.parse(await readFile(recordPath, "utf8")))).toEqual(record);
    const stored = await readAll(await world.store.get(`drills/${record.id}.json`));
    expect(JSON.parse(stored.toString())).toEqual(record);
    expect(record.environmentFacts[RECORD_IN_STORE]).toBe(world.store.describe(`drills/${record.id}.json`));
  });

  it("looks through what was recovered before the next step, and not on the clock", async () => {
    const seen: string[] = [];
    await using world = await fakeWorld({
      recover: () => ({
        async inspect() {
          seen.push("inspect");
          await sleep(1_500);
          const lines = ["table a is new"];
          return [
            {
              component: "db",
              check: "schema",
              status: "passed",
              expected: "same",
              actual: "1 different",
              lines,
            },
          ];
        },
      }),
    });
    const { record } = await world.drill(
      {},
      scenario("- recover: db\n- run: 'true'\n- check: { run: 'true' }"),
    );
    expect(record.verdict).toBe("passed");
    expect(seen).toEqual(["inspect"]);
    expect(outline(record.steps)).toEqual([
      "Recover db: passed",
      "Check db: passed",
      "Look through db: passed",
      "Run true: passed",
      "Check true: passed",
    ]);
    expect(record.checks.at(-2)).toMatchObject({ check: "schema", lines: ["table a is new"] });
    expect(record.steps[2]?.seconds).toBeGreaterThan(1.4);
    expect(record.achieved.rtoSeconds).toBeLessThan(1.4);
  });

  it("has an id that sorts by time", async () => {
    const times = ["2026-01-25T14:30:00.900Z", "2026-01-25T14:30:01.000Z", "2026-11-01T00:00:00Z"];
    const ids: string[] = [];
    for (const time of times) {
      await using world = await fakeWorld({}, { now: () => new Date(time) });
      ids.push((await world.drill()).record.id);
    }
    expect(ids[0]).toMatch(/^20260125T143000Z-[0-9a-f]{6}$/);
    expect(ids.toSorted()).toEqual(ids);
  });

  it("disposes of what it recovered, the newest first", async () => {
    await using world = await fakeWorld();
    const two = DB.replace("  db:", `${OTHER}  db:`);
    const { record } = await world.drill({ components: ["db", "other"] }, two);
    expect(record.scenario).toBe("db+other");
    expect(record.verdict).toBe("passed");
    expect(world.calls).toEqual([
      "recover db",
      "check db",
      "recover other",
      "check other",
      "dispose other",
      "dispose db",
    ]);
  });

  it("keeps what it recovered when asked, and says so", async () => {
    await using world = await fakeWorld();
    const { record } = await world.drill({ keep: true });
    expect(world.calls.at(-1)).toBe("keep db");
    expect(record.environmentFacts["kept of db"]).toBeDefined();
  });

  it("takes the steps that belong to a drill and gives commands the access to what was recovered", async () => {
    await using world = await fakeWorld();
    const yaml = scenario(`
      - { run: "touch /nonexistent/never", when: restore }
      - { run: "echo before", when: drill }
      - recover: db
      - run: echo "at $DRILLBOOK_DB_HOST:$DRILLBOOK_DB_PORT"
      - check: { run: '[ "$DRILLBOOK_DB_URL" = "postgresql://u:s3cret@127.0.0.1:5/shop" ]' }`);
    const { record } = await world.drill({}, yaml);
    expect(record.verdict).toBe("passed");
    expect(record.steps.map((step) => step.status)).toEqual([
      "skipped",
      "passed",
      "passed",
      "passed",
      "passed",
      "passed",
    ]);
    expect(record.steps[0]?.message).toBe("Only taken when the service is really restored.");
    expect(world.context.lines).toContain("info: at 127.0.0.1:5");
    expect(new Set(record.steps.map((step) => step.id)).size).toBe(6);
  });

  it("asks URLs with the variables of what was recovered", async () => {
    const server = createServer((_, response) => response.end(JSON.stringify({ orders: 42 })));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    try {
      const access = { port: String(port) };
      await using world = await fakeWorld({ recover: () => ({ access }) });
      const yaml = scenario(`
        - recover: db
        - check: { url: "http://127.0.0.1:\${DRILLBOOK_DB_PORT}/readyz", json: { orders: ">= 1" }, within: 5s }`);
      const { record } = await world.drill({}, yaml.replaceAll("\\$", "$"));
      expect(record.verdict).toBe("passed");
      expect(record.checks.at(-1)).toEqual({
        component: "",
        check: `GET http://127.0.0.1:\${DRILLBOOK_DB_PORT}/readyz`,
        status: "passed",
        expected: "status 200, orders >= 1",
        actual: "status 200, orders = 42",
      });
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it("stops what a command left running", async () => {
    await using world = await fakeWorld();
    const file = join(world.context.workDir, "pid");
    const yaml = scenario(`
      - recover: db
      - run: sleep 300 & echo $! > ${file}`);
    expect((await world.drill({}, yaml)).record.verdict).toBe("passed");
    await untilEnded(await pidIn(file));
  });

  it("drills the backup that is named, or chooses none", async () => {
    await using world = await fakeWorld();
    await world.drill();
    await world.drill({ backup: "20260125T120000Z-aabbcc" });
    expect(world.requests.map((request) => request.backupId)).toEqual([undefined, "20260125T120000Z-aabbcc"]);
  });

  it("takes a fresh backup first when asked, drills it, and does not count it as recovery time", async () => {
    const backup = async () => {
      await sleep(300);
      return { manifest: MANIFEST, bytes: 1, recoverableUntil: undefined };
    };
    await using world = await fakeWorld({ backup });
    const { record } = await world.drill({ backup: "fresh" });
    expect(record.verdict).toBe("passed");
    expect(outline(record.steps)[0]).toBe("Take a fresh base backup of db: passed");
    expect(record.steps[0]).toMatchObject({ kind: "run", component: "db" });
    expect(world.requests[0]?.backupId).toBe(MANIFEST.id);
    expect(record.achieved.rtoSeconds).toBeLessThan(record.steps[0]?.seconds ?? 0);
  });
});

describe("a drill is failed", () => {
  it("when what was recovered is not whole, although its checks passed", async () => {
    const found = {
      component: "db",
      check: "amcheck",
      status: "failed",
      expected: "whole",
      actual: "1 damaged",
    } as const;
    await using world = await fakeWorld({ recover: () => ({ inspect: async () => [found] }) });
    const { record } = await world.drill();
    expect(record.verdict).toBe("failed");
    expect(record.reasons).toEqual(["A check of db failed: amcheck: expected whole, found 1 damaged."]);
    expect(record.achieved.rtoSeconds).toBeNull();
  });

  it("when the recovery finds a defect; the reason names the object and nothing else is tried", async () => {
    const subject = "file:///store/db/wal/00000001/000000010000000000000007.zst";
    await using world = await fakeWorld({
      recover: () => {
        throw new DefectError(subject, "The segment is altered.");
      },
    });
    const { record } = await world.drill(
      {},
      scenario("- recover: db\n- run: touch x\n- check: { run: 'true' }"),
    );
    expect(record.verdict).toBe("failed");
    expect(record.reasons).toEqual([`"Recover db" failed: ${subject}: The segment is altered.`]);
    expect(outline(record.steps)).toEqual([
      "Recover db: failed",
      "Run touch x: skipped",
      "Check true: skipped",
    ]);
    expect(record.achieved).toEqual({ rtoSeconds: null, rpoSeconds: null });
    expect(world.calls).toEqual(["recover db"]);
  });

  it("when a check of the component fails, after the other checks have run too", async () => {
    await using world = await fakeWorld({
      recover: () => ({
        check: async () => [
          { component: "db", check: "q", status: "failed", expected: ">= 1", actual: "no row" },
        ],
      }),
    });
    const { record } = await world.drill(
      {},
      scenario("- recover: db\n- run: echo on\n- check: { run: 'exit 0' }"),
    );
    expect(record.verdict).toBe("failed");
    expect(record.reasons).toEqual(["A check of db failed: q: expected >= 1, found no row."]);
    expect(outline(record.steps)).toEqual([
      "Recover db: passed",
      "Check db: failed",
      "Run echo on: passed",
      "Check exit 0: passed",
    ]);
    expect(record.achieved.rtoSeconds).toBeNull();
  });

  it("when a check by a command fails, with the command's last words", async () => {
    await using world = await fakeWorld();
    const yaml = scenario("- recover: db\n- check: { run: 'echo 3 orders are gone; exit 4' }");
    const { record } = await world.drill({}, yaml);
    expect(record.verdict).toBe("failed");
    expect(record.checks.at(-1)).toMatchObject({
      component: "",
      status: "failed",
      expected: "exit code 0",
      actual: "ended with exit code 4 | 3 orders are gone",
    });
  });

  it("when a command fails, which ends the drill", async () => {
    await using world = await fakeWorld();
    const yaml = scenario("- recover: db\n- run: 'echo cannot; exit 2'\n- check: { run: 'true' }");
    const { record } = await world.drill({}, yaml);
    expect(record.verdict).toBe("failed");
    expect(record.steps[2]).toMatchObject({
      status: "failed",
      message: "The command ended with exit code 2; its last lines: cannot",
    });
    expect(record.steps[3]).toMatchObject({
      status: "skipped",
      message: "Not taken, because an earlier step ended the drill.",
    });
    expect(world.calls.at(-1)).toBe("dispose db");
  });

  it("when the RTO is missed", async () => {
    await using world = await fakeWorld({ recover: () => sleep(1200).then(() => ({})) });
    const { record } = await world.drill({}, `objectives: { drill: { rto: 1s } }\n${DB}`);
    expect(record.verdict).toBe("failed");
    expect(record.reasons[0]).toMatch(/^The recovery took .* more than the RTO of 1 s\.$/);
  });

  it("when the RPO is missed, here by the component's own objective", async () => {
    await using world = await fakeWorld();
    const yaml = DB.replace("    checks:", "    objectives: { rpo: 2s }\n    checks:");
    const { record } = await world.drill({}, `objectives: { drill: { rpo: 24h } }\n${yaml}`);
    expect(record.verdict).toBe("failed");
    expect(record.objectives.rpoSeconds).toBe(2);
    expect(record.reasons).toEqual(["The data lost spans 2.2 s, 200 ms more than the RPO of 2 s."]);
  });

  it("when a later commit than the target is in the recovered data", async () => {
    await using world = await fakeWorld();
    const { record } = await world.drill({ target: "2026-01-25T14:29:00Z" });
    expect(record.verdict).toBe("failed");
    expect(record.reasons[0]).toContain("beyond its target");
  });
});

describe("a drill is unverified", () => {
  it.each([
    ["the user's mistake", new UserError("The target is before the backup.")],
    ["a tool that refuses", new ToolError("The disk is full.")],
    ["a bug", new TypeError("x is not a function")],
  ])("when the recovery ends in %s", async (_, error) => {
    await using world = await fakeWorld({
      recover: () => {
        throw error;
      },
    });
    const { record } = await world.drill();
    expect(record.verdict).toBe("unverified");
    expect(record.reasons[0]).toBe(`"Recover db" could not be done: ${error.message}`);
  });

  it("when a check could not run", async () => {
    const check = () => Promise.reject(new ToolError("no connection"));
    await using world = await fakeWorld({ recover: () => ({ check }) });
    const { record } = await world.drill({}, scenario("- recover: db\n- check: { run: 'true' }"));
    expect(record.verdict).toBe("unverified");
    expect(record.reasons[0]).toContain("no connection");
    expect(record.steps.at(-1)?.status).toBe("passed");
  });

  it("when the command of a check does not exist", async () => {
    await using world = await fakeWorld();
    const { record } = await world.drill(
      {},
      scenario("- recover: db\n- check: { run: /nonexistent/smoke.sh }"),
    );
    expect(record.verdict).toBe("unverified");
    expect(record.checks.at(-1)?.status).toBe("unverified");
  });

  it("masks a password in the address of a check", async () => {
    await using world = await fakeWorld({}, { env: { ...process.env, SMOKE_PASSWORD: "t0psecret" } });
    const yaml = scenario(`- recover: db\n- check: { url: "http://a:\${SMOKE_PASSWORD}@127.0.0.1/" }`);
    const { record } = await world.drill({ scenario: "lost" }, yaml);
    expect(record.verdict).toBe("unverified");
    expect(JSON.stringify(record)).not.toContain("t0psecret");
    expect(world.context.masked).toContain("t0psecret");
  });

  it("when the variable of a URL is not set", async () => {
    await using world = await fakeWorld();
    const yaml = scenario(`- recover: db\n- check: { url: "http://\${NOT_SET_ANYWHERE}/" }`);
    const { record } = await world.drill({}, yaml);
    expect(record.verdict).toBe("unverified");
    expect(record.reasons[0]).toContain("NOT_SET_ANYWHERE");
  });

  it("when the component answers no check at all", async () => {
    await using world = await fakeWorld({ recover: () => ({ check: async () => [] }) });
    const { record } = await world.drill();
    expect(record.verdict).toBe("unverified");
    expect(record.reasons[0]).toContain("No check ran");
  });

  it("when the RPO has an objective and no commit was seen", async () => {
    const reached = { lsn: "0/1", time: null, timeline: 1, lastCommitBefore: null, firstCommitAfter: null };
    await using world = await fakeWorld({ recover: () => ({ reached }) });
    const asked = await world.drill({}, `objectives: { drill: { rpo: 24h } }\n${DB}`);
    expect(asked.record).toMatchObject({ verdict: "unverified", achieved: { rpoSeconds: null } });
    const unasked = await world.drill();
    expect(unasked.record.verdict).toBe("passed");
  });

  it("when a fresh backup could not be taken: nothing is drilled", async () => {
    await using world = await fakeWorld({
      backup: () => Promise.reject(new ToolError("The server is gone.")),
    });
    const { record } = await world.drill({ backup: "fresh" });
    expect(record.verdict).toBe("unverified");
    expect(record.reasons[0]).toContain("The server is gone.");
    expect(world.calls).toEqual(["backup db"]);
  });

  it("when its record could not be stored; it is on the disk then, and says so", async () => {
    await using world = await fakeWorld({
      store: (real) => ({
        ...real,
        describe: (key) => `file:///${key}`,
        put: () => Promise.reject(new ToolError("Access denied.")),
      }),
    });
    const { record, recordPath } = await world.drill();
    expect(record.verdict).toBe("unverified");
    expect(record.reasons).toEqual([
      "The record of the drill could not be written into the store: Access denied.",
    ]);
    expect(record.environmentFacts[RECORD_IN_STORE]).toBe(RECORD_NOT_STORED);
    expect(JSON.parse(await readFile(recordPath, "utf8"))).toEqual(record);
  });

  it("when it is stopped, and nothing is left running", async () => {
    await using world = await fakeWorld();
    const file = join(world.context.workDir, "pid");
    const command = `sleep 300 & echo $! > ${file}; wait`;
    const running = world.drill({}, scenario(`- recover: db\n- run: ${command}\n- check: { run: 'true' }`));
    const pid = await pidIn(file);
    world.context.abort();
    const { record, recordPath } = await running;
    expect(record.verdict).toBe("unverified");
    expect(record.reasons.join()).toContain("stopped from outside");
    expect(record.steps.map((step) => step.status)).toEqual(["passed", "passed", "unverified", "skipped"]);
    expect(world.calls.at(-1)).toBe("dispose db");
    expect(existsSync(recordPath)).toBe(true);
    await untilEnded(pid);
  });

  it("when a component's own work is stopped", async () => {
    await using world = await fakeWorld({ recover: () => Promise.reject(new AbortedError()) });
    const { record } = await world.drill();
    expect(record.verdict).toBe("unverified");
    expect(record.reasons[0]).toContain("stopped from outside");
  });
});

describe("a drill is refused before anything is touched", () => {
  it.each([
    ["an unknown scenario", { scenario: "fire" }, /no scenario "fire"/],
    ["an unknown component", { components: ["nope"] }, /no component "nope"/],
    ["an unknown environment", { environment: "staging" }, /staging is not in/],
    ["a protected environment", { environment: "production" }, /protected/],
    ["a backup that is no id", { backup: "newest" }, /backup is "newest": use existing, fresh, or the id/],
  ])("for %s", async (_, options, message) => {
    await using world = await fakeWorld();
    const yaml = `objectives: { drill: { rto: 1h }, production: { protected: true } }\n${DB}`;
    await expect(world.drill(options, yaml)).rejects.toThrow(message);
    expect(world.calls).toEqual([]);
    expect(existsSync(world.reportDir)).toBe(false);
  });

  it("for one backup id and two components", async () => {
    await using world = await fakeWorld();
    const options = { components: ["db", "other"], backup: "20260125T120000Z-aabbcc" };
    await expect(world.drill(options, DB + OTHER)).rejects.toThrow(/names a backup of one component/);
  });
});

describe("secrets and leftovers", () => {
  it("no secret gets into the record, be it in a command's output or in an error", async () => {
    await using world = await fakeWorld();
    const yaml = scenario("- recover: db\n- run: echo $DRILLBOOK_DB_URL; exit 1");
    const { record, recordPath } = await world.drill({}, yaml);
    expect(record.reasons[0]).toContain("postgresql://u:***@127.0.0.1:5/shop");
    expect(await readFile(recordPath, "utf8")).not.toContain("s3cret");
    const stored = await readAll(await world.store.get(`drills/${record.id}.json`));
    expect(stored.toString()).not.toContain("s3cret");
  });

  it("a password that is a word of the format or a name of the runbook does not break the record", async () => {
    await using world = await fakeWorld();
    const redact = (text: string) => text.replaceAll(/drill|shop|db|passed/g, "***");
    const { record } = await world.drill({ redact });
    expect(record).toMatchObject({ schema: "drillbook/drill-record/v1", service: "shop", verdict: "passed" });
    expect(record.steps[0]).toMatchObject({ title: "Recover ***", component: "db" });
  });

  it("what could not be removed is a warning and a fact, not a verdict", async () => {
    await using world = await fakeWorld({
      recover: () => ({ dispose: () => Promise.reject(new Error("busy")) }),
    });
    const { record } = await world.drill();
    expect(record.verdict).toBe("passed");
    expect(record.environmentFacts["left over of db"]).toContain("busy");
    expect(world.context.lines.some((line) => line.startsWith("warning:") && line.includes("busy"))).toBe(
      true,
    );
  });

  it("a record that cannot be written ends in a sentence", async () => {
    await using world = await fakeWorld();
    await expect(world.drill({ reportDir: "/dev/null/reports" })).rejects.toThrow(/report-dir writable/);
    expect(world.calls.at(-1)).toBe("dispose db");
  });
});

const MANIFEST = {
  schema: "drillbook/backup-manifest/v1" as const,
  id: "20260125T150000Z-ddeeff",
  service: "shop",
  component: "db",
  type: "postgres",
  method: "physical",
  startedAt: "",
  finishedAt: "",
  objects: [],
  details: {},
};
