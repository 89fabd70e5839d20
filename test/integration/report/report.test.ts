import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { UserError } from "../../../src/errors.ts";
import type { DrillRecord } from "../../../src/record.ts";
import { SUMMARY_BYTES } from "../../../src/report/document.ts";
import { makeReport, notifyReport, type Report } from "../../../src/report/report.ts";
import { type TestContext, testContext } from "../../support/context.ts";
import { runbookOf } from "../../unit/drill/runbook.ts";
import { sampleRecord } from "../../unit/report/sample.ts";
import { receive } from "../notify/receiver.ts";

const YAML = `
components:
  db:
    type: postgres
    store: local
    connection: \${DATABASE_URL}
    checks: [{ query: SELECT count(*) FROM orders, expect: ">= 1" }]
scenarios:
  database-lost:
    every: 90d
    steps: [{ recover: db }]
`;

const NOW = "2026-03-01T00:00:00.000Z";

interface Case {
  readonly records?: readonly Partial<DrillRecord>[];
  readonly files?: Readonly<Record<string, string>>;
  readonly patterns?: readonly string[];
  readonly gate?: boolean;
  readonly history?: number;
  readonly yaml?: string;
}

/** A record of a drill on some day of 2026, with an id of its own. */
function drilledOn(day: string, changes: Partial<DrillRecord> = {}): Partial<DrillRecord> {
  const id = `${day.replaceAll("-", "")}T100000Z-aaaaaa`;
  return { id, startedAt: `${day}T10:00:00.000Z`, finishedAt: `${day}T10:01:00.000Z`, ...changes };
}

async function report(
  input: Case,
  use: (report: Report, context: TestContext) => void | Promise<void>,
): Promise<void> {
  await using context = await testContext({ now: () => new Date(NOW) });
  const folder = join(context.workDir, "work space #1");
  await mkdir(join(folder, "drill-reports"), { recursive: true });
  for (const [index, changes] of (input.records ?? []).entries()) {
    const path = join(folder, "drill-reports", `${String(index).padStart(5, "0")}.json`);
    await writeFile(path, JSON.stringify(sampleRecord(changes)));
  }
  for (const [name, text] of Object.entries(input.files ?? {})) await writeFile(join(folder, name), text);
  const made = await makeReport(
    {
      runbook: runbookOf(input.yaml ?? YAML),
      records: input.patterns ?? ["drill-reports/*.json"],
      folder,
      history: input.history ?? 12,
      gate: input.gate ?? false,
    },
    context,
  );
  await use(made, context);
}

describe("the report over drills", () => {
  it("is passed when the newest drill of each scenario is, whatever came before", async () => {
    const records = [drilledOn("2026-02-01", { verdict: "failed", reasons: ["x"] }), drilledOn("2026-02-02")];
    await report({ records, gate: true }, ({ verdict, reasons, findings, markdown }) => {
      expect({ verdict, reasons, findings }).toEqual({ verdict: "passed", reasons: [], findings: [] });
      expect(markdown.split("\n")[0]).toContain("**PASSED**");
      expect(markdown).toContain("## Newest drill of database-lost");
    });
  });

  it.each(["failed", "unverified"] as const)("is %s when the newest drill is", async (verdict) => {
    const records = [
      drilledOn("2026-02-01"),
      drilledOn("2026-02-02", { verdict, reasons: ["the segment is altered"] }),
    ];
    await report({ records }, (made) => {
      expect(made.verdict).toBe(verdict);
      expect(made.reasons).toEqual([
        `The newest drill of database-lost is ${verdict}: the segment is altered`,
      ]);
      expect(made.markdown.split("\n")[0]).toContain("the segment is altered");
    });
  });

  it("shows the last drills of a scenario, the newest first", async () => {
    const records = ["2026-01-01", "2026-02-01", "2026-01-15", "2026-02-20"].map((day, index) =>
      drilledOn(day, { achieved: { rtoSeconds: 10 * (index + 1), rpoSeconds: 1 } }),
    );
    await report({ records, history: 3 }, ({ markdown }) => {
      const trend = markdown.slice(markdown.indexOf("### Trend"), markdown.indexOf("## Newest"));
      const rows = trend.split("\n").filter((line) => line.startsWith("| `"));
      expect(rows.map((row) => row.slice(3, 13))).toEqual(["2026-02-20", "2026-02-01", "2026-01-15"]);
      expect(rows.map((row) => row.split(" | ")[3])).toEqual(["██████████", "█████", "███████▌"]);
    });
  });

  it("takes a record that is there twice once, and refuses two different ones of the same drill", async () => {
    const same = drilledOn("2026-02-01");
    await report({ records: [same, same] }, (made) => {
      expect(made.verdict).toBe("passed");
      expect(made.standings[0]?.drills).toHaveLength(1);
    });
    await report({ records: [same, { ...same, operator: "somebody else" }] }, (made) => {
      expect(made.verdict).toBe("unverified");
      expect(made.reasons[0]).toContain("00001.json");
    });
  });

  it("shows drills of scenarios that the runbook no longer has, without counting them", async () => {
    const records = [
      drilledOn("2026-02-01"),
      drilledOn("2026-02-02", { scenario: "old", verdict: "failed", reasons: ["x"] }),
    ];
    await report({ records }, ({ verdict, markdown }) => {
      expect(verdict).toBe("passed");
      expect(markdown).toContain("(no longer in the runbook)");
    });
  });

  it("leaves out records of other services, and says so", async () => {
    const foreign = drilledOn("2026-02-02", { service: "other", verdict: "failed", reasons: ["x"] });
    await report({ records: [drilledOn("2026-02-01"), foreign] }, ({ verdict, markdown }) => {
      expect(verdict).toBe("passed");
      expect(markdown).toContain("1 record of another service was left out");
    });
  });

  it("stays below the limit of a summary with very many drills", async () => {
    const records = Array.from({ length: 400 }, (_, index) =>
      drilledOn("2026-02-01", {
        id: `x${index}`,
        scenario: index % 2 === 0 ? "database-lost" : "db",
        operator: "<|>".repeat(5_000),
      }),
    );
    await report({ records, history: 1000 }, ({ summary, markdown }) => {
      expect(Buffer.byteLength(summary)).toBeLessThanOrEqual(SUMMARY_BYTES);
      expect(markdown.match(/^\| `2026-02-01T10:00:00.000Z` \| ✅/gm)).toHaveLength(400);
    });
  });
});

describe("nothing is skipped silently", () => {
  it.each([
    ["text that is no JSON", "{ not json", /broken\.json is no drill record, for it can't be read/],
    ["another kind of JSON", '{"hello":1}', /broken\.json is no drill record: schema is wrong/],
    [
      "a record with a part cut off",
      JSON.stringify({ ...sampleRecord(), checks: undefined }),
      /checks is wrong/,
    ],
    [
      "a verdict that does not exist",
      JSON.stringify({ ...sampleRecord(), verdict: "great" }),
      /verdict is wrong/,
    ],
    [
      "a drill in the future",
      JSON.stringify(sampleRecord({ finishedAt: "2027-01-01T00:00:00Z" })),
      /in the future/,
    ],
    [
      "a passed drill with a failed step",
      JSON.stringify(
        sampleRecord({ steps: sampleRecord().steps.map((step) => ({ ...step, status: "failed" })) }),
      ),
      /although the step 01-recover-db is failed: it was altered/,
    ],
    ["a passed drill without a check", JSON.stringify(sampleRecord({ checks: [] })), /although no check ran/],
    [
      "a passed drill with a check that could not run",
      JSON.stringify(
        sampleRecord({ checks: sampleRecord().checks.map((one) => ({ ...one, status: "unverified" })) }),
      ),
      /although a check is unverified/,
    ],
    [
      "a passed drill that missed its objective",
      JSON.stringify(sampleRecord({ achieved: { rtoSeconds: 5401, rpoSeconds: 2.2 } })),
      /although rtoSeconds is not met/,
    ],
    [
      "a passed drill that did not measure its objective",
      JSON.stringify(sampleRecord({ achieved: { rtoSeconds: 41.8, rpoSeconds: null } })),
      /although rpoSeconds is not met/,
    ],
    ["no time at all", JSON.stringify(sampleRecord({ finishedAt: "yesterday" })), /finishedAt is no time/],
    ["nothing", "", /can't be read/],
  ])("%s makes it unverified, with a sentence that names the file", async (_, text, sentence) => {
    const files = { "drill-reports/broken.json": text };
    await report({ records: [drilledOn("2026-02-01")], files }, ({ verdict, reasons, markdown }) => {
      expect(verdict).toBe("unverified");
      expect(reasons.join("\n")).toMatch(sentence);
      expect(markdown).toContain("broken.json");
    });
  });

  it("a file that was named but is not there is broken; a pattern may match nothing more", async () => {
    const patterns = ["drill-reports/*.json", "drill-reports/absent.json", "more/*.json"];
    await report({ records: [drilledOn("2026-02-01")], patterns }, ({ verdict, reasons }) => {
      expect(verdict).toBe("unverified");
      expect(reasons).toEqual(["The drill record drill-reports/absent.json does not exist."]);
    });
  });

  it("a failed drill outweighs a broken record", async () => {
    const records = [drilledOn("2026-02-01", { verdict: "failed", reasons: ["x"] })];
    await report({ records, files: { "drill-reports/b.json": "?" } }, ({ verdict }) =>
      expect(verdict).toBe("failed"),
    );
  });

  it("no record at all is unverified", async () => {
    await report({}, ({ verdict, reasons }) => {
      expect(verdict).toBe("unverified");
      expect(reasons).toEqual([
        "No drill record was found, so nothing is proven: run the pitr-drill action first.",
      ]);
    });
  });
});

describe("the gate", () => {
  it("fails when the last passed drill is older than every, although a newer drill was tried", async () => {
    const records = [
      drilledOn("2025-11-01"),
      drilledOn("2026-02-20", { verdict: "unverified", reasons: ["disk full"] }),
    ];
    await report({ records, gate: true }, ({ verdict, findings }) => {
      expect(verdict).toBe("failed");
      expect(findings).toMatchObject([
        { code: "drill-overdue", severity: "error", component: "db", subject: "database-lost" },
      ]);
      expect(findings[0]?.message).toBe(
        "The scenario database-lost had its last passed drill 119 d 13 h ago; the runbook asks for one every 90 d.",
      );
    });
  });

  it("fails when a scenario was never drilled", async () => {
    await report(
      { records: [drilledOn("2026-02-01", { scenario: "db" })], gate: true },
      ({ verdict, findings }) => {
        expect(verdict).toBe("failed");
        expect(findings[0]?.message).toContain("has no passed drill at all");
      },
    );
  });

  it("passes with a passed drill within every", async () => {
    await report({ records: [drilledOn("2025-12-02")], gate: true }, ({ verdict }) =>
      expect(verdict).toBe("passed"),
    );
  });

  it("only warns when it is not asked for", async () => {
    await report({ records: [drilledOn("2025-11-01")] }, ({ verdict, findings }) => {
      expect(verdict).toBe("passed");
      expect(findings).toMatchObject([{ code: "drill-overdue", severity: "warning" }]);
    });
  });

  it("asks nothing of a scenario without every", async () => {
    const yaml = YAML.replace("    every: 90d\n", "");
    await report({ records: [drilledOn("2025-11-01")], gate: true, yaml }, ({ verdict, findings }) => {
      expect({ verdict, findings }).toEqual({ verdict: "passed", findings: [] });
    });
  });
});

describe("telling others", () => {
  const NOTIFY = `${YAML}notify: { webhook: "\${DR_WEBHOOK_URL}" }\n`;

  async function told(input: Case, when: "on-failure" | "always" | "never"): Promise<unknown[]> {
    await using receiver = await receive(() => ({ status: 200 }));
    await report({ ...input, yaml: NOTIFY }, async (made, context) => {
      const env = { DR_WEBHOOK_URL: receiver.url };
      expect(await notifyReport(made, runbookOf(NOTIFY), when, null, { ...context, env })).toEqual([]);
    });
    return receiver.received.map(({ body }) => body);
  }

  it("sends the record of a drill that is not passed", async () => {
    const failed = drilledOn("2026-02-01", { verdict: "failed", reasons: ["x"] });
    expect(await told({ records: [failed] }, "on-failure")).toEqual([sampleRecord(failed)]);
  });

  it("is silent when all is well, unless always", async () => {
    expect(await told({ records: [drilledOn("2026-02-01")] }, "on-failure")).toEqual([]);
    expect(await told({ records: [drilledOn("2026-02-01")] }, "always")).toHaveLength(1);
    expect(await told({ records: [drilledOn("2026-02-01", { verdict: "failed" })] }, "never")).toEqual([]);
  });

  it("sends the finding of an overdue drill, and word of broken records", async () => {
    const bodies = await told({ files: { "drill-reports/broken.json": "?" }, gate: true }, "on-failure");
    expect(bodies).toMatchObject([
      { code: "drill-overdue", subject: "database-lost" },
      { service: "shop", verdict: "unverified", reasons: [expect.stringContaining("broken.json")] },
    ]);
  });

  it("says which variable is not set", async () => {
    await report({ records: [drilledOn("2026-02-01")], yaml: NOTIFY }, async (made, context) => {
      const telling = notifyReport(made, runbookOf(NOTIFY), "always", null, { ...context, env: {} });
      await expect(telling).rejects.toThrow(UserError);
      await expect(telling).rejects.toThrow(/DR_WEBHOOK_URL/);
    });
  });

  it("returns a sentence for what could not be delivered", async () => {
    await using receiver = await receive(() => ({ status: 400 }));
    await report({ records: [drilledOn("2026-02-01")], yaml: NOTIFY }, async (made, context) => {
      const env = { DR_WEBHOOK_URL: receiver.url };
      const failures = await notifyReport(made, runbookOf(NOTIFY), "always", null, { ...context, env });
      expect(failures).toEqual([expect.stringContaining("Nobody was told through webhook")]);
    });
  });
});
