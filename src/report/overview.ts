import type { Finding } from "../finding.ts";
import type { DrillRecord, Verdict } from "../record.ts";
import { formatDuration } from "../values.ts";
import { type Block, renderDocument, SUMMARY_BYTES, type Table, text } from "./document.ts";
import { code, link, markdown } from "./escape.ts";
import { type Contact, drillBlocks, duration, section, verdictWord } from "./markdown.ts";
import { misses } from "./next-steps.ts";
import type { Standing } from "./standing.ts";

export interface HistoryInput {
  readonly service: string;
  readonly verdict: Verdict;
  readonly reasons: readonly string[];
  readonly findings: readonly Finding[];
  readonly standings: readonly Standing[];
  readonly contacts: readonly Contact[];
  /** Records of other services, which were left out. */
  readonly foreign: number;
  /** How many drills of a scenario the trend shows. */
  readonly history: number;
  readonly now: Date;
}

/** The report over many drills: the verdict in the first line, how each scenario stands, the trend, the newest drills. */
export function renderHistory(input: HistoryInput, size: "summary" | "file"): string {
  const longest = size === "summary" ? 300 : 2_000;
  const blocks: Block[] = [text(headline(input, longest))];
  const reasons = input.reasons.map((reason) => () => markdown(reason, longest));
  section(blocks, "Why", { kind: "list", rowsAre: "reasons", items: reasons });
  section(blocks, "Findings", findings(input.findings, longest));
  section(blocks, "Scenarios", scenarios(input, longest));
  if (input.foreign > 0) {
    const what = input.foreign === 1 ? "record of another service was" : "records of other services were";
    blocks.push(text(`*${input.foreign} ${what} left out.*`));
  }
  for (const standing of input.standings) {
    section(
      blocks,
      `Trend of ${markdown(standing.scenario, longest)}`,
      trend(standing, input.history, longest),
    );
  }
  for (const { scenario, drills } of input.standings) {
    const [newest] = drills;
    if (newest === undefined) continue;
    blocks.push(text(`## Newest drill of ${markdown(scenario, longest)}`));
    blocks.push(...drillBlocks(newest, { size, contacts: input.contacts }));
  }
  return renderDocument(blocks, size === "summary" ? SUMMARY_BYTES : undefined);
}

function headline(input: HistoryInput, longest: number): string {
  const drilled = input.standings.filter((one) => one.drills.length > 0).length;
  const story =
    input.verdict === "passed"
      ? `the newest drill of each scenario is passed (${drilled} drilled).`
      : markdown(input.reasons[0] ?? "no reason is known.", longest);
  return `${verdictWord(input.verdict)}: drills of ${code(input.service)}: ${story}`;
}

function findings(all: readonly Finding[], longest: number): Table {
  return {
    kind: "table",
    rowsAre: "findings",
    head: ["Code", "Severity", "Scenario", "What", "What to do"],
    rows: all.map((finding) => ({
      important: finding.severity === "error",
      cells: () => [
        code(finding.code),
        finding.severity,
        code(finding.subject, longest),
        markdown(finding.message, longest),
        markdown(finding.remedy, longest),
      ],
    })),
  };
}

function scenarios(input: HistoryInput, longest: number): Table {
  return {
    kind: "table",
    rowsAre: "scenarios",
    head: ["Verdict", "Scenario", "Newest drill", "Age", "Every", "RTO", "RPO"],
    rows: input.standings.map(({ scenario, drills, every, verdict, current }) => {
      const [newest] = drills;
      const note = current ? "" : " (no longer in the runbook)";
      return {
        important: verdict !== "passed",
        cells: () => [
          newest === undefined && verdict === "unverified" ? "never drilled" : verdictWord(verdict),
          `${code(scenario, longest)}${note}`,
          newest === undefined ? "-" : code(newest.id),
          newest === undefined ? "-" : formatDuration(ageOf(newest, input.now)),
          every === undefined ? "-" : formatDuration(every),
          newest === undefined ? "-" : measured(newest.achieved.rtoSeconds, newest.objectives.rtoSeconds),
          newest === undefined ? "-" : measured(newest.achieved.rpoSeconds, newest.objectives.rpoSeconds),
        ],
      };
    }),
  };
}

function ageOf(record: DrillRecord, now: Date): number {
  return Math.max(0, (now.getTime() - Date.parse(record.finishedAt)) / 1000);
}

function measured(achieved: number | null, objective: number | null): string {
  if (objective === null) return duration(achieved);
  return `${misses(achieved, objective) ? "❌ " : ""}${duration(achieved)} (objective ${formatDuration(objective)})`;
}

/** The last drills, the newest first, with bars in proportion to the longest of them. */
function trend({ drills }: Standing, history: number, longest: number): Table {
  const shown = drills.slice(0, history);
  const longestRto = Math.max(0, ...shown.map((drill) => drill.achieved.rtoSeconds ?? 0));
  const longestRpo = Math.max(0, ...shown.map((drill) => drill.achieved.rpoSeconds ?? 0));
  return {
    kind: "table",
    rowsAre: "drills",
    head: ["When", "Verdict", "RTO", "", "RPO", "", "Backup", "Run"],
    rows: shown.map((drill) => ({
      cells: () => [
        code(drill.startedAt),
        verdictWord(drill.verdict),
        duration(drill.achieved.rtoSeconds),
        bar(drill.achieved.rtoSeconds, longestRto),
        duration(drill.achieved.rpoSeconds),
        bar(drill.achieved.rpoSeconds, longestRpo),
        drill.recoveries
          .slice(0, 3)
          .map((recovery) => code(recovery.backupId, longest))
          .join(", ") || "-",
        drill.run.url === null ? "-" : link("run", drill.run.url),
      ],
    })),
  };
}

const EIGHTHS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/** A bar of at most ten characters. */
function bar(value: number | null, longest: number): string {
  if (value === null || longest <= 0) return "-";
  const eighths = Math.max(1, Math.round((value / longest) * 80));
  return `${"█".repeat(Math.floor(eighths / 8))}${EIGHTHS[eighths % 8] ?? ""}`;
}
