import type { DrillRecord } from "../../../src/record.ts";

/** A drill that passed, as the runner writes it. */
export function sampleRecord(changes: Partial<DrillRecord> = {}): DrillRecord {
  return {
    schema: "drillbook/drill-record/v1",
    id: "20260125T143100Z-1a2b3c",
    service: "shop",
    environment: "drill",
    scenario: "database-lost",
    verdict: "passed",
    reasons: [],
    startedAt: "2026-01-25T14:31:00.000Z",
    finishedAt: "2026-01-25T14:31:44.000Z",
    objectives: { rtoSeconds: 5400, rpoSeconds: 86_400 },
    achieved: { rtoSeconds: 41.8, rpoSeconds: 2.2 },
    operator: "octocat",
    run: {
      url: "https://github.com/acme/shop/actions/runs/42",
      attempt: 1,
      sha: "0123456789abcdef0123456789abcdef01234567",
    },
    steps: [
      {
        id: "01-recover-db",
        title: "Recover db",
        kind: "recover",
        component: "db",
        status: "passed",
        startedAt: "2026-01-25T14:31:00.500Z",
        seconds: 38.1,
        phases: [
          { name: "plan", seconds: 0.4 },
          { name: "fetch", seconds: 9.4, bytes: 1_300_000_000 },
          { name: "replay", seconds: 26.1, bytes: 617_000_000 },
        ],
      },
      {
        id: "02-check-db",
        title: "Check db",
        kind: "check",
        component: "db",
        status: "passed",
        startedAt: "2026-01-25T14:31:38.600Z",
        seconds: 3.7,
        phases: [],
      },
      {
        id: "03-run",
        title: "Run docker compose stop worker",
        kind: "run",
        status: "skipped",
        startedAt: "2026-01-25T14:31:42.300Z",
        seconds: 0,
        phases: [],
        message: "Only taken when the service is really restored.",
      },
    ],
    recoveries: [
      {
        component: "db",
        backupId: "20260125T120000Z-aabbcc",
        target: "2026-01-25 14:30:00.000000+00",
        reached: {
          lsn: "0/1A2B3C4D",
          time: "2026-01-25T14:30:00.000000Z",
          timeline: 2,
          lastCommitBefore: "2026-01-25T14:29:57.812345Z",
          firstCommitAfter: "2026-01-25T14:30:00.103456Z",
        },
      },
    ],
    checks: [
      {
        component: "db",
        check: "SELECT count(*) FROM orders",
        status: "passed",
        expected: ">= 1",
        actual: "10432",
      },
      {
        component: "",
        check: "GET http://localhost:8000/readyz",
        status: "passed",
        expected: "status 200",
        actual: "status 200",
      },
    ],
    environmentFacts: { target: "2026-01-25T14:30:00Z", postgres: "17.5", runner: "ubuntu" },
    ...changes,
  };
}

/** Names and answers as an enemy would choose them. */
export const HOSTILE = [
  "a|b|c",
  "<img src=x onerror=alert(1)>",
  "`code` ``` fence",
  "@octocat see #123 and GH-7",
  "::error::owned",
  "\u202Eevil\u202C\u200B\u2066",
  "line\r\n| --- |\n## heading\n- [ ] item",
  "\u0000\u0007\u001b[31mred",
  "![x](https://evil.example/x.png) [y](javascript:alert(1)) https://evil.example www.evil.example",
  "$x^2$ ~~s~~ **b** _i_ :tada: [^1] &lt;b&gt; &#124;",
  "\\| \\` \\",
  "--> <!-- </details>",
  "x".repeat(100_000),
] as const;
