import { type Block, renderDocument, SUMMARY_BYTES, text } from "../report/document.ts";
import { code, markdown } from "../report/escape.ts";
import { section, verdictWord } from "../report/markdown.ts";
import { formatBytes, formatDuration } from "../values.ts";
import type { VerifiedComponent, VerifyRecord } from "./record.ts";

const DEPTHS: Readonly<Record<VerifyRecord["depth"], string>> = {
  inventory: "names, sizes and documents; no data was read",
  checksums: "every byte that was read was compared with what was recorded",
  restore: "the newest backup was recovered on trial and looked through",
};

/** The report of a verification: the verdict, what could be recovered now, and what is wrong. */
export function renderVerification(record: VerifyRecord, size: "summary" | "file"): string {
  const longest = size === "summary" ? 300 : 2_000;
  const errors = record.findings.filter((finding) => finding.severity === "error").length;
  const warnings = record.findings.length - errors;
  const blocks: Block[] = [
    text(
      `${verdictWord(record.verdict)}: the backups of ${code(record.service)}: ${count(errors, "error")}, ${count(warnings, "warning")}. If it all went now, ${lossOf(record.rpoSeconds)}.`,
    ),
  ];
  section(blocks, "What could be recovered now", {
    kind: "table",
    rowsAre: "components",
    head: ["Component", "From", "To", "Lost now", "Backups", "Newest", "Last run"],
    rows: record.components.map((one) => ({ cells: () => windowCells(one), important: one.window === null })),
  });
  section(blocks, "Findings", {
    kind: "table",
    rowsAre: "findings",
    head: ["", "Code", "Component", "What is wrong", "What to do"],
    rows: record.findings.map((finding) => ({
      important: finding.severity === "error",
      cells: () => [
        finding.severity === "error" ? "❌" : "⚠️",
        code(finding.code),
        markdown(finding.component),
        markdown(finding.message, longest),
        markdown(finding.remedy, longest),
      ],
    })),
  });
  section(blocks, "What was looked at", text(`Depth ${code(record.depth)}: ${DEPTHS[record.depth]}.`), {
    kind: "table",
    rowsAre: "components",
    head: ["Component", "In the store", "Read and compared", "Proven backups", "Time"],
    rows: record.components.map((one) => ({ cells: () => readCells(one) })),
  });
  section(blocks, "What was not looked at", {
    kind: "list",
    rowsAre: "sentences",
    items: record.components.flatMap(({ unchecked }) =>
      unchecked.map((line) => () => markdown(line, longest)),
    ),
  });
  return renderDocument(blocks, size === "summary" ? SUMMARY_BYTES : undefined);
}

function count(number: number, what: string): string {
  return `${number === 0 ? "no" : number} ${what}${number === 1 ? "" : "s"}`;
}

function lossOf(seconds: number | null): string {
  return seconds === null
    ? "nobody knows how much would be lost"
    : `${formatDuration(seconds)} of data would be lost`;
}

function windowCells(one: VerifiedComponent): readonly string[] {
  return [
    markdown(one.component),
    one.window === null ? "–" : code(one.window.from),
    one.window === null ? "–" : code(one.window.to),
    one.rpoSeconds === null ? "not known" : formatDuration(one.rpoSeconds),
    String(one.backups),
    one.newestBackup === null ? "–" : code(one.newestBackup),
    one.heartbeat === null ? "never" : code(one.heartbeat),
  ];
}

function readCells({ component, held, read, verified, seconds }: VerifiedComponent): readonly string[] {
  return [
    markdown(component),
    `${held.objects.toLocaleString("en")} objects, ${formatBytes(held.bytes)}`,
    read.objects === 0 ? "–" : `${read.objects.toLocaleString("en")} objects, ${formatBytes(read.bytes)}`,
    verified.length === 0 ? "–" : String(verified.length),
    formatDuration(seconds),
  ];
}
