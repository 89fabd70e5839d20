import { renderDocument, SUMMARY_BYTES, text } from "../report/document.ts";
import { code, markdown } from "../report/escape.ts";
import { formatBytes, formatDuration } from "../values.ts";
import type { BackupRun, ComponentBackup } from "./run.ts";

type Reported = Omit<BackupRun, "markdown" | "assertSucceeded">;

/** The report of a backup run as Markdown: what was taken, up to when it can be recovered, what failed and why. */
export function renderBackups(run: Reported): string {
  const failed = run.backups.filter((backup) => backup.error !== null);
  const verdict =
    failed.length === 0 ? "✅ succeeded" : `❌ failed for ${failed.length} of ${run.backups.length}`;
  const what = run.kind === "full" ? "Backup" : "WAL";
  return renderDocument(
    [
      text(`## ${what} of ${markdown(run.service)}: ${verdict}`),
      text(
        run.recoverableUntil === undefined
          ? "**Recoverable until:** not known for every component."
          : `**Recoverable until:** ${code(run.recoverableUntil)}`,
      ),
      {
        kind: "table",
        rowsAre: "components",
        head: ["Component", "Result", "Backup", "Written", "Time", "Recoverable until", "Pruned"],
        rows: run.backups.map((backup) => ({ cells: () => cells(backup), important: backup.error !== null })),
      },
      {
        kind: "list",
        rowsAre: "failures",
        items: failed.map(
          (backup) => () => `**${markdown(backup.component)}:** ${markdown(backup.error ?? "")}`,
        ),
      },
      {
        kind: "list",
        rowsAre: "notes",
        items: run.backups.flatMap(({ component, notes }) =>
          notes.map(({ severity, text }) => () => {
            const sign = severity === "notice" ? "" : "⚠️ ";
            return `${sign}**${markdown(component)}:** ${markdown(text)}`;
          }),
        ),
      },
    ],
    SUMMARY_BYTES,
  );
}

function cells(backup: ComponentBackup): readonly string[] {
  return [
    markdown(backup.component),
    backup.error === null ? "✅" : "❌",
    backup.backupId === null ? "–" : code(backup.backupId),
    formatBytes(backup.bytes),
    formatDuration(backup.seconds),
    backup.recoverableUntil === null ? "–" : code(backup.recoverableUntil),
    backup.pruned.length === 0 ? "–" : String(backup.pruned.length),
  ];
}
