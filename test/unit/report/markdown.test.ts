import { describe, expect, it } from "vitest";
import { RECORD_IN_STORE, RECORD_NOT_STORED } from "../../../src/drill/facts.ts";
import type { DrillRecord } from "../../../src/record.ts";
import { SUMMARY_BYTES } from "../../../src/report/document.ts";
import { renderDrill } from "../../../src/report/markdown.ts";
import { HOSTILE, sampleRecord } from "./sample.ts";

/** Cells of every row of every table, as GitHub's Markdown splits them. */
function tablesOf(markdown: string): string[][][] {
  const outside = markdown.replaceAll(/```[\s\S]*?```/g, "");
  return outside
    .split("\n\n")
    .filter((block) => block.startsWith("|"))
    .map((block) =>
      block
        .trimEnd()
        .split("\n")
        .map((row) =>
          row
            .replace(/^\| /, "")
            .replace(/ \|$/, "")
            .split(/(?<!\\)\|/)
            .map((cell) => cell.trim()),
        ),
    );
}

function tableWith(markdown: string, head: string): string[][] {
  const found = tablesOf(markdown).find((table) => table[0]?.includes(head));
  if (found === undefined) throw new Error(`no table with the column ${head}`);
  return found;
}

function mermaidOf(markdown: string): string[] {
  return (/```mermaid\n([\s\S]*?)```/.exec(markdown)?.[1] ?? "").trimEnd().split("\n");
}

/** A record whose every free text is the hostile one. */
function hostileRecord(text: string): DrillRecord {
  const record = sampleRecord({
    verdict: "failed",
    reasons: [text, text],
    scenario: text,
    operator: text,
    service: text,
  });
  return {
    ...record,
    run: { url: text, attempt: 1, sha: text },
    steps: record.steps.map((step) => ({
      ...step,
      title: text,
      message: text,
      phases: step.phases.map((phase) => ({ ...phase, name: text })),
    })),
    recoveries: record.recoveries.map((one) => ({
      ...one,
      component: text,
      backupId: text,
      target: text,
      reached: { ...one.reached, lsn: text, lastCommitBefore: text },
    })),
    checks: [{ component: text, check: text, status: "failed", expected: text, actual: text, lines: [text] }],
    environmentFacts: { [text]: text },
  };
}

describe("the report of a passed drill", () => {
  const markdown = renderDrill(sampleRecord());

  it("says the verdict in its first line", () => {
    expect(markdown.split("\n")[0]).toContain("**PASSED**");
    expect(markdown.split("\n")[0]).toContain("41.8 s");
  });

  it("sets objectives against what was achieved", () => {
    expect(tableWith(markdown, "Objective").slice(2)).toEqual([
      ["RTO: time to recover", "1 h 30 min", "41.8 s", "✅ met"],
      ["RPO: data lost", "1 d", "2.2 s", "✅ met"],
    ]);
  });

  it("shows the two commits that bracket the point", () => {
    const rows = tableWith(markdown, "Component").flat();
    expect(rows).toContain("`2026-01-25T14:29:57.812345Z`");
    expect(rows).toContain("`2026-01-25T14:30:00.103456Z`");
  });

  it("shows where the time went, the time that no phase names too", () => {
    const rows = tableWith(markdown, "Phase").slice(2);
    expect(rows.map((row) => [row[1], row[2]])).toEqual([
      ["plan", "400 ms"],
      ["fetch", "9.4 s"],
      ["replay", "26.1 s"],
      ["*other*", "2.2 s"],
      ["-", "3.7 s"],
    ]);
  });

  it("links to the run", () => {
    expect(markdown).toContain("[workflow run](https://github.com/acme/shop/actions/runs/42), attempt 1");
  });

  it("shows what a check saw line by line, also when it passed", () => {
    const check = { component: "db", check: "schema", expected: "same", actual: "2 different" };
    const lines = ["table public.a is not there", "column public.b.c was <text>"];
    const record = sampleRecord({ checks: [{ ...check, status: "passed", lines }] });
    expect(renderDrill(record)).toContain(
      "✅ `schema` of `db`:\n\n- table public.a is not there\n- column public.b.c was &lt;text&gt;",
    );
    const many = sampleRecord({
      checks: [{ ...check, status: "passed", lines: Array<string>(60_000).fill("x".repeat(40)) }],
    });
    const summary = renderDrill(many, { size: "summary" });
    expect(Buffer.byteLength(summary)).toBeLessThan(SUMMARY_BYTES);
    expect(summary).toContain("59,500 more lines are left out here");
  });

  it("has neither reasons nor contacts", () => {
    const contacts = [{ role: "On-call", contact: "pagerduty" }];
    expect(renderDrill(sampleRecord(), { contacts })).toBe(markdown);
    expect(markdown).not.toContain("### Why");
    expect(markdown).not.toContain("### What to do");
  });
});

describe("the report of a drill that is not passed", () => {
  it("says why, what to do and whom to call", () => {
    const record = sampleRecord({ verdict: "failed", reasons: ["part base.tar.zst is altered"] });
    const markdown = renderDrill(record, {
      contacts: [{ role: "On-call", contact: "pagerduty", "escalate-after": 900 }],
    });
    expect(markdown.split("\n")[0]).toMatch(/\*\*FAILED\*\*.*part base.tar.zst is altered/);
    expect(markdown).toContain("### Why\n\n- part base.tar.zst is altered");
    expect(tableWith(markdown, "Role")[2]).toEqual(["On-call", "pagerduty", "15 min"]);
  });

  it("says by how much an objective was missed, and which part took longest", () => {
    const markdown = renderDrill(
      sampleRecord({ verdict: "failed", objectives: { rtoSeconds: 30, rpoSeconds: 1 } }),
    );
    expect(
      tableWith(markdown, "Objective")
        .slice(2)
        .map((row) => row[3]),
    ).toEqual(["❌ missed by 11.8 s", "❌ missed by 1.2 s"]);
    expect(markdown).toContain('The longest part was replay of "Recover db" (26.1 s)');
  });

  it("shows what was not measured as such, never as zero", () => {
    const achieved = { rtoSeconds: null, rpoSeconds: null };
    const markdown = renderDrill(sampleRecord({ verdict: "unverified", achieved }));
    expect(
      tableWith(markdown, "Objective")
        .slice(2)
        .map((row) => row.slice(2)),
    ).toEqual([
      ["not measured", "⚠️ not measured"],
      ["not measured", "⚠️ not measured"],
    ]);
  });

  it.each<[string, Partial<DrillRecord>, string]>([
    [
      "a defect",
      { steps: sampleRecord().steps.map((step) => ({ ...step, status: "failed" })) },
      "take a full backup now",
    ],
    [
      "a recovery that could not run",
      { steps: sampleRecord().steps.map((step) => ({ ...step, status: "unverified" })) },
      "Nothing is proven about db",
    ],
    [
      "a failed check",
      { checks: [{ component: "db", check: "x", status: "failed", expected: "1", actual: "0" }] },
      "drill an earlier target",
    ],
    [
      "damage",
      {
        checks: [
          { component: "db", check: "integrity: tables", status: "failed", expected: "1", actual: "0" },
        ],
      },
      "See whether the source of db has the same damage",
    ],
    [
      "a check that could not run",
      { checks: [{ component: "db", check: "x", status: "unverified", expected: "1", actual: "-" }] },
      "Mend the checks that could not run",
    ],
    ["no check", { checks: [] }, "Add a check that proves data"],
    [
      "a record that was not stored",
      { environmentFacts: { [RECORD_IN_STORE]: RECORD_NOT_STORED } },
      "Mend the access to the store",
    ],
    ["a missed RPO", { achieved: { rtoSeconds: 1, rpoSeconds: 1e6 } }, "Archive WAL more often"],
    [
      "an RPO that was not measured",
      { achieved: { rtoSeconds: 1, rpoSeconds: null } },
      "Let the drill see a commit",
    ],
  ])("has a next step for %s", (_, changes, expected) => {
    const without = renderDrill(sampleRecord({ verdict: "unverified", reasons: ["x"] }));
    expect(without).not.toContain(expected);
    expect(renderDrill(sampleRecord({ verdict: "unverified", reasons: ["x"], ...changes }))).toContain(
      expected,
    );
  });
});

describe("hostile names", () => {
  it.each(HOSTILE.map((text) => [text.slice(0, 20), text]))("do no harm: %s", (_, text) => {
    for (const size of ["summary", "file"] as const) {
      const markdown = renderDrill(hostileRecord(text), { size, contacts: [{ role: text, contact: text }] });
      for (const table of tablesOf(markdown)) {
        expect(new Set(table.map((row) => row.length)).size).toBe(1);
      }
      expect(markdown.replaceAll(/<\/?code>/g, "")).not.toMatch(/<[a-z!/]/i);
      expect(markdown).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u202a-\u202e\u2066-\u2069]/);
      expect(markdown).not.toMatch(/^(?:::|## heading)/m);
      expect(markdown.replaceAll(/`[^`]*`/g, "")).not.toMatch(/(?<!\\)\]\((?!https:\/\/github\.com)/);
      for (const line of mermaidOf(markdown)) {
        expect(line).toMatch(
          /^(?:gantt| {2}(?:dateFormat|axisFormat|todayMarker) .+| {2}section \d+ [\p{L}\p{N} ._()/…-]+| {4}\d+(?:\.\d+)? [\p{L}\p{N} ._()/…-]+ :(?:done|crit), s\d+(?:p\d+)?, 2000-01-0\d [\d:.]+, \d+ms)$/u,
        );
      }
    }
  });
});

describe("size", () => {
  const many = Array.from({ length: 100_000 }, (_, index) => ({
    component: "db",
    check: `SELECT ${index} FROM ${"<&|>".repeat(50)}`,
    status: index === 99_999 ? ("failed" as const) : ("passed" as const),
    expected: "|".repeat(400),
    actual: "`".repeat(400),
  }));
  const record = sampleRecord({ verdict: "failed", reasons: many.map((check) => check.check), checks: many });

  it("of a summary stays below the runner's limit, says what was left out and keeps the failed check", () => {
    const markdown = renderDrill(record, { size: "summary" });
    expect(Buffer.byteLength(markdown)).toBeLessThanOrEqual(SUMMARY_BYTES);
    expect(markdown).toMatch(/\*99,\d{3} more checks are left out here: the report file has them all\.\*/);
    expect(markdown).toMatch(/\*99,\d{3} more reasons are left out here/);
    expect(markdown).toContain("❌ failed");
    expect(markdown).toContain("### Circumstances");
  });

  it("of a file is not limited", () => {
    const checks = Array.from({ length: 100_000 }, () => sampleRecord().checks[0] ?? many[0]).filter(
      (check) => check !== undefined,
    );
    expect(tableWith(renderDrill(sampleRecord({ checks })), "Actual")).toHaveLength(100_002);
  });

  it("of a summary stays below the limit with very many steps and recoveries", () => {
    const steps = Array.from({ length: 40_000 }, () => sampleRecord().steps).flat();
    const recoveries = Array.from({ length: 100_000 }, () => sampleRecord().recoveries).flat();
    const markdown = renderDrill(sampleRecord({ steps, recoveries }), { size: "summary" });
    expect(Buffer.byteLength(markdown)).toBeLessThanOrEqual(SUMMARY_BYTES);
    expect(mermaidOf(markdown).length).toBeLessThan(200);
  });
});
