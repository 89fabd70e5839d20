import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Context } from "../context.ts";
import { messageOf, ToolError } from "../errors.ts";
import { appendSummary } from "./summary.ts";

/** Where a relative path of an input is: below the workspace, as in every step of a job. */
export function inWorkspace(path: string, env: Context["env"]): string {
  return resolve(env.GITHUB_WORKSPACE || ".", path);
}

/**
 * Writes a Markdown report into a folder, which is created, and a summary (the report itself unless given) into the
 * job's; returns the report's path. `folder` is relative to the workspace. A summary that can't be written is a warning.
 */
export async function writeReport(
  folder: string,
  name: string,
  markdown: string,
  context: Context,
  summary = markdown,
): Promise<string> {
  await appendSummary(summary, context.env).catch((error: unknown) => {
    context.log.warning(`The job summary could not be written: ${messageOf(error)}`);
  });
  const path = join(inWorkspace(folder, context.env), name);
  try {
    await mkdir(inWorkspace(folder, context.env), { recursive: true });
    await writeFile(path, markdown);
  } catch (error) {
    throw new ToolError(`The report ${path} could not be written: ${messageOf(error)}`, { cause: error });
  }
  return path;
}

/** Writes a record as JSON into a folder, which is created; returns its path. `folder` is relative to the workspace. */
export async function writeRecord(
  folder: string,
  name: string,
  record: unknown,
  context: Context,
): Promise<string> {
  const path = join(inWorkspace(folder, context.env), name);
  try {
    await mkdir(inWorkspace(folder, context.env), { recursive: true });
    await writeFile(path, `${JSON.stringify(record, null, 2)}\n`);
  } catch (error) {
    throw new ToolError(`The record ${path} could not be written: ${messageOf(error)}`, { cause: error });
  }
  return path;
}
