import type { DrillRecord, Step } from "../record.ts";
import { formatBytes, formatDuration } from "../values.ts";
import { type Block, type Row, renderDocument, SUMMARY_BYTES, type Table, text } from "./document.ts";
import { code, link, markdown } from "./escape.ts";
import { gantt } from "./gantt.ts";
import { misses, nextSteps } from "./next-steps.ts";

/** Whom to call, as the runbook has it; the duration is in seconds. */
export interface Contact {
  readonly role: string;
  readonly contact: string;
  readonly "escalate-after"?: number | undefined;
}

export interface RenderOptions {
  /** `summary` fits into a job summary; `file` (the default) leaves nothing out. */
  readonly size?: "summary" | "file";
  /** Shown when the drill is not passed. */
  readonly contacts?: readonly Contact[];
}

const ICONS: Readonly<Record<Step["status"], string>> = {
  passed: "✅",
  failed: "❌",
  unverified: "⚠️",
  skipped: "⏭️",
};

/** The report of one drill: the verdict in the first line, then why, what to do, what was measured, what was seen. */
export function renderDrill(record: DrillRecord, options: RenderOptions = {}): string {
  const blocks = drillBlocks(record, options);
  return renderDocument(blocks, options.size === "summary" ? SUMMARY_BYTES : undefined);
}

/** The blocks of {@link renderDrill}, to be a part of a longer report. */
export function drillBlocks(record: DrillRecord, { size, contacts = [] }: RenderOptions = {}): Block[] {
  const longest = size === "summary" ? 300 : 2_000;
  const blocks: Block[] = [text(headline(record, longest)), ...trouble(record, contacts, longest)];
  section(blocks, "Objectives", objectives(record));
  section(blocks, "Recovery point", ...recoveryPoints(record, longest));
  section(blocks, "Where the time went", text(gantt(record)), timeTable(record, longest));
  section(blocks, "Checks", checks(record, longest), ...checkLines(record, longest));
  section(blocks, "Steps", steps(record, longest));
  section(blocks, "Circumstances", facts(record, longest));
  return blocks;
}

export function verdictWord(verdict: DrillRecord["verdict"]): string {
  return `${ICONS[verdict]} **${verdict.toUpperCase()}**`;
}

/** `2 min 3 s`, or what people read for something that was not measured. */
export function duration(seconds: number | null): string {
  return seconds === null ? "not measured" : formatDuration(seconds);
}

function headline(record: DrillRecord, longest: number): string {
  const subject = `drill of ${code(record.scenario)} in ${code(`${record.service}/${record.environment}`)}`;
  const { rtoSeconds, rpoSeconds } = record.achieved;
  const story =
    record.verdict === "passed"
      ? `recovered and checked in ${duration(rtoSeconds)}${rpoSeconds === null ? "" : `, ${formatDuration(rpoSeconds)} of data lost`}.`
      : markdown(record.reasons[0] ?? "No reason was recorded.", longest);
  return `${verdictWord(record.verdict)}: ${subject}: ${story}`;
}

/** Adds a heading and its blocks, unless all of them are empty. */
export function section(blocks: Block[], title: string, ...content: readonly Block[]): void {
  const full = content.filter((block) =>
    block.kind === "text"
      ? block.text !== ""
      : (block.kind === "table" ? block.rows : block.items).length > 0,
  );
  if (full.length > 0) blocks.push(text(`### ${title}`), ...full);
}

function trouble(record: DrillRecord, contacts: readonly Contact[], longest: number): Block[] {
  if (record.verdict === "passed") return [];
  const blocks: Block[] = [];
  const items = (lines: readonly string[]) => lines.map((line) => () => markdown(line, longest));
  section(blocks, "Why", { kind: "list", rowsAre: "reasons", items: items(record.reasons) });
  section(blocks, "What to do", { kind: "list", rowsAre: "next steps", items: items(nextSteps(record)) });
  section(blocks, "Whom to call", {
    kind: "table",
    rowsAre: "contacts",
    head: ["Role", "Contact", "Escalate after"],
    rows: contacts.map(({ role, contact, "escalate-after": after }) => ({
      cells: () => [
        markdown(role, longest),
        markdown(contact, longest),
        after === undefined ? "-" : formatDuration(after),
      ],
    })),
  });
  return blocks;
}

function objectives(record: DrillRecord): Table {
  const lines = [
    ["RTO: time to recover", record.objectives.rtoSeconds, record.achieved.rtoSeconds],
    ["RPO: data lost", record.objectives.rpoSeconds, record.achieved.rpoSeconds],
  ] as const;
  return {
    kind: "table",
    rowsAre: "objectives",
    head: ["", "Objective", "Achieved", "Result"],
    rows: lines.map(([name, objective, achieved]) => ({
      cells: () => [
        name,
        objective === null ? "none" : formatDuration(objective),
        duration(achieved),
        met(achieved, objective),
      ],
    })),
  };
}

function met(achieved: number | null, objective: number | null): string {
  if (objective === null) return "no objective";
  if (achieved === null) return `${ICONS.unverified} not measured`;
  return misses(achieved, objective)
    ? `${ICONS.failed} missed by ${formatDuration(achieved - objective)}`
    : `${ICONS.passed} met`;
}

/** For a few components a table each, read from top to bottom; for many, one with a row each. */
function recoveryPoints(record: DrillRecord, longest: number): Table[] {
  const columns = record.recoveries.map(({ component, backupId, target, reached }) => ({
    Component: code(component, longest),
    Backup: code(backupId, longest),
    "Asked for": code(target, longest),
    Reached: `${code(reached.lsn, longest)} on timeline ${reached.timeline}`,
    "Time of the point": instant(reached.time, "PostgreSQL names none"),
    "Last commit before it, recovered": instant(
      reached.lastCommitBefore,
      reached.completeUntil
        ? `none was replayed; complete up to ${reached.completeUntil}`
        : "none was replayed",
    ),
    "First commit after it, left out": instant(reached.firstCommitAfter, "none was seen"),
  }));
  const [first] = columns;
  if (first === undefined) return [];
  if (columns.length > 3) {
    const rows = columns.map((column) => ({ cells: () => Object.values(column) }));
    return [{ kind: "table", rowsAre: "recoveries", head: Object.keys(first), rows }];
  }
  return columns.map((column) => {
    const [head, ...rows] = Object.entries(column);
    return {
      kind: "table",
      rowsAre: "lines",
      head: head ?? [],
      rows: rows.map((cells) => ({ cells: () => cells })),
    };
  });
}

function instant(time: string | null, otherwise: string): string {
  return time === null ? otherwise : code(time);
}

function timeTable(record: DrillRecord, longest: number): Table {
  const ran = record.steps.filter((step) => step.status !== "skipped");
  const total = ran.reduce((sum, step) => sum + step.seconds, 0);
  const row = (step: Step, name: string, seconds: number, bytes?: number): Row => ({
    cells: () => [
      markdown(step.title, longest),
      name,
      formatDuration(seconds),
      total > 0 ? `${((seconds / total) * 100).toFixed(0)} %` : "-",
      bytes === undefined ? "-" : formatBytes(bytes),
      bytes === undefined || seconds <= 0 ? "-" : `${formatBytes(bytes / seconds)}/s`,
    ],
  });
  return {
    kind: "table",
    rowsAre: "phases",
    head: ["Step", "Phase", "Time", "Share", "Bytes", "Rate"],
    rows: ran.flatMap((step) => {
      if (step.phases.length === 0) return [row(step, "-", step.seconds)];
      const known = step.phases.reduce((sum, phase) => sum + phase.seconds, 0);
      const rest = step.seconds - known;
      const rows = step.phases.map((phase) =>
        row(step, markdown(phase.name, longest), phase.seconds, phase.bytes),
      );
      // Phases may overlap, so their sum can pass the step's own time; less than it is time that no phase names.
      return rest < 0.05 ? rows : [...rows, row(step, "*other*", rest)];
    }),
  };
}

function checks(record: DrillRecord, longest: number): Table {
  return {
    kind: "table",
    rowsAre: "checks",
    head: ["Result", "Component", "Check", "Expected", "Actual"],
    rows: record.checks.map((check) => ({
      important: check.status !== "passed",
      cells: () => [
        `${ICONS[check.status]} ${check.status}`,
        check.component === "" ? "*scenario*" : code(check.component, longest),
        code(check.check, longest),
        code(check.expected, longest),
        code(check.actual, longest),
      ],
    })),
  };
}

/** What checks saw in detail, also those that passed: a difference may be right and still worth a look. */
function checkLines(record: DrillRecord, longest: number): Block[] {
  return record.checks.flatMap(({ component, check, status, lines = [] }): Block[] => {
    if (lines.length === 0) return [];
    const where = component === "" ? "" : ` of ${code(component, longest)}`;
    const items = lines.map((line) => () => markdown(line, longest));
    return [
      text(`${ICONS[status]} ${code(check, longest)}${where}:`),
      { kind: "list", rowsAre: "lines", items },
    ];
  });
}

function steps(record: DrillRecord, longest: number): Table {
  return {
    kind: "table",
    rowsAre: "steps",
    head: ["Result", "Step", "Kind", "Started", "Time", "What happened"],
    rows: record.steps.map((step) => ({
      important: step.status === "failed" || step.status === "unverified",
      cells: () => [
        `${ICONS[step.status]} ${step.status}`,
        markdown(step.title, longest),
        step.kind,
        step.status === "skipped" ? "-" : code(step.startedAt),
        step.status === "skipped" ? "-" : formatDuration(step.seconds),
        step.message === undefined ? "-" : markdown(step.message, longest),
      ],
    })),
  };
}

function facts(record: DrillRecord, longest: number): Table {
  const { run } = record;
  const lines: [string, string][] = [
    ["Drill", code(record.id)],
    ["Operator", markdown(record.operator, longest)],
    ["Started", code(record.startedAt)],
    ["Finished", code(record.finishedAt)],
  ];
  if (run.url !== null) {
    lines.push([
      "Run",
      `${link("workflow run", run.url)}${run.attempt === null ? "" : `, attempt ${run.attempt}`}`,
    ]);
  }
  if (run.sha !== null) lines.push(["Commit", code(run.sha)]);
  for (const [name, value] of Object.entries(record.environmentFacts)) {
    lines.push([markdown(name, longest), markdown(value, longest)]);
  }
  return {
    kind: "table",
    rowsAre: "facts",
    head: ["Fact", "Value"],
    rows: lines.map((cells) => ({ cells: () => cells })),
  };
}
