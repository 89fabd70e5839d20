import type { DrillRecord, Step } from "../record.ts";
import { chartLabel } from "./escape.ts";

const MOST_ROWS = 60;
/** Bars of less than this part of the whole would not be seen. */
const NARROWEST = 1 / 400;

/**
 * A Mermaid gantt chart of the steps and their phases, by time since the first step; the empty string when nothing ran.
 * Phases are drawn one after the other: the record says how long each took, not when it began.
 */
export function gantt(record: DrillRecord): string {
  const steps = record.steps.filter((step) => step.status !== "skipped");
  const first = steps[0];
  if (first === undefined) return "";
  const origin = Date.parse(first.startedAt);
  const ends = steps.map((step) => Date.parse(step.startedAt) - origin + step.seconds * 1000);
  const total = ends.reduce((latest, end) => Math.max(latest, end), 1);

  const lines: string[] = [];
  let rows = 0;
  for (const [index, step] of steps.entries()) {
    const bars = barsOf(step, index + 1, Date.parse(step.startedAt) - origin, total);
    if (rows + bars.length > MOST_ROWS) break;
    rows += bars.length;
    lines.push(`  section ${index + 1} ${chartLabel(step.title)}`, ...bars);
  }
  const head = [
    "gantt",
    "  dateFormat YYYY-MM-DD HH:mm:ss.SSS",
    `  axisFormat ${axis(total)}`,
    "  todayMarker off",
  ];
  return ["```mermaid", ...head, ...lines, "```"].join("\n");
}

/** Labels begin with a number, so that no name is read as a keyword of the chart. */
function barsOf(step: Step, number: number, startMs: number, totalMs: number): string[] {
  const tag = step.status === "passed" ? "done, " : "crit, ";
  if (step.phases.length === 0) {
    return [bar(`${number} ${step.status}`, `${tag}s${number}`, startMs, step.seconds * 1000, totalMs)];
  }
  let at = startMs;
  return step.phases.map((phase, index) => {
    const label = `${number}.${index + 1} ${chartLabel(phase.name)}`;
    const line = bar(label, `${tag}s${number}p${index + 1}`, at, phase.seconds * 1000, totalMs);
    at += phase.seconds * 1000;
    return line;
  });
}

function bar(label: string, id: string, startMs: number, ms: number, totalMs: number): string {
  const shown = Math.max(Math.round(ms), Math.ceil(totalMs * NARROWEST));
  return `    ${label} :${id}, ${clock(startMs)}, ${shown}ms`;
}

/** The chart knows calendar times only, read in the zone of who looks: a fixed day makes them read as time since the start. */
function clock(ms: number): string {
  return new Date(Date.UTC(2000, 0, 1) + Math.max(0, Math.round(ms)))
    .toISOString()
    .slice(0, 23)
    .replace("T", " ");
}

function axis(totalMs: number): string {
  if (totalMs < 20_000) return "%S.%L s";
  return totalMs < 3_600_000 ? "%M:%S" : "%H:%M:%S";
}
