import { appendFile } from "node:fs/promises";

/** GitHub drops the whole summary of a step above 1 MiB; some room is left for the encoding of line ends. */
export const SUMMARY_LIMIT_BYTES = 1_000_000;

/** Appends Markdown to the job summary; does nothing where there is none (GITHUB_STEP_SUMMARY is not set). */
export async function appendSummary(
  markdown: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  const file = env.GITHUB_STEP_SUMMARY;
  if (file === undefined || file === "") return;
  await appendFile(file, limitSummary(markdown) + "\n");
}

/** Cuts Markdown at a line end so that it fits, and says so; the verdict stands first, so it is never cut. */
export function limitSummary(markdown: string): string {
  if (Buffer.byteLength(markdown) <= SUMMARY_LIMIT_BYTES) return markdown;
  const kept = Buffer.from(markdown).subarray(0, SUMMARY_LIMIT_BYTES).toString("utf8");
  return `${kept.slice(0, kept.lastIndexOf("\n"))}\n\n*Cut here: the report in full is in the artifact.*`;
}
