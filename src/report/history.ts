import { glob, readFile, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { messageOf } from "../errors.ts";
import { type DrillRecord, drillRecord } from "../record.ts";
import { formatBytes } from "../values.ts";

/** The drill records that were found. */
export interface History {
  /** Each once, the newest first. */
  readonly records: readonly DrillRecord[];
  /** A sentence for each file that is no sound drill record; it names the file. */
  readonly broken: readonly string[];
}

const LONGEST_FILE = 64 * 2 ** 20;
/** How far the clock of another runner may be ahead. */
const CLOCK_SKEW_MS = 10 * 60_000;

/**
 * Reads drill records. `patterns` are paths or globs such as `drill-reports/*.json`, relative to `folder`. Nothing that
 * matches is left out: a file that can't be read, or is no drill record, has a sentence in `broken`.
 */
export async function readHistory(patterns: readonly string[], folder: string, now: Date): Promise<History> {
  const broken: string[] = [];
  const records = new Map<string, { readonly record: DrillRecord; readonly path: string }>();
  for (const path of await findFiles(patterns, folder, broken)) {
    const record = await readRecord(path, folder, now);
    if (typeof record === "string") {
      broken.push(record);
      continue;
    }
    const known = records.get(record.id);
    if (known !== undefined && JSON.stringify(known.record) !== JSON.stringify(record)) {
      broken.push(
        `${path} and ${known.path} are records of the same drill, ${record.id}, with different content: keep the true one.`,
      );
    }
    if (known === undefined) records.set(record.id, { record, path });
  }
  const found = [...records.values()].map(({ record }) => record);
  return { records: found.sort(newestFirst), broken };
}

function newestFirst(a: DrillRecord, b: DrillRecord): number {
  return Date.parse(b.finishedAt) - Date.parse(a.finishedAt) || (a.id < b.id ? 1 : -1);
}

async function findFiles(patterns: readonly string[], folder: string, broken: string[]): Promise<string[]> {
  const paths = new Set<string>();
  for (const pattern of patterns) {
    let matches = 0;
    for await (const path of glob(pattern, { cwd: folder })) {
      matches += 1;
      paths.add(path);
    }
    // A glob may match nothing, for example before the first drill; a file that was named must be there.
    if (matches === 0 && !/[*?[\]{}]/.test(pattern))
      broken.push(`The drill record ${pattern} does not exist.`);
  }
  return [...paths].sort();
}

/** The record, or a sentence that says why it is none. */
async function readRecord(path: string, folder: string, now: Date): Promise<DrillRecord | string> {
  const absolute = resolve(folder, path);
  let value: unknown;
  try {
    const { size } = await stat(absolute);
    if (size > LONGEST_FILE) return `${path} is no drill record: it has ${formatBytes(size)}.`;
    value = JSON.parse(await readFile(absolute, "utf8"));
  } catch (error) {
    return `${path} is no drill record, for it can't be read: ${messageOf(error)}.`;
  }
  const parsed = drillRecord.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const where = issue === undefined || issue.path.length === 0 ? "it" : issue.path.join(".");
    return `${path} is no drill record: ${where} is wrong (${issue?.message ?? "unknown"}). Take it out of the records or restore it.`;
  }
  const finished = Date.parse(parsed.data.finishedAt);
  if (Number.isNaN(finished)) return `${path} is no drill record: finishedAt is no time.`;
  if (finished > now.getTime() + CLOCK_SKEW_MS) {
    return `${path} is the record of a drill in the future (${parsed.data.finishedAt}): one of the clocks is wrong.`;
  }
  const doubt = contradiction(parsed.data);
  return doubt === undefined
    ? parsed.data
    : `${path} says that the drill is passed, although ${doubt}: it was altered.`;
}

/** What in a record is at odds with its verdict `passed`, as it never is in one that a drill wrote. */
function contradiction(record: DrillRecord): string | undefined {
  if (record.verdict !== "passed") return undefined;
  const { steps, checks, objectives, achieved } = record;
  const step = steps.find(({ status }) => status === "failed" || status === "unverified");
  if (step !== undefined) return `the step ${step.id} is ${step.status}`;
  const check = checks.find(({ status }) => status !== "passed");
  if (check !== undefined) return `a check is ${check.status}`;
  if (checks.length === 0) return "no check ran";
  for (const key of ["rtoSeconds", "rpoSeconds"] as const) {
    const most = objectives[key];
    if (most !== null && (achieved[key] ?? Number.POSITIVE_INFINITY) > most) return `${key} is not met`;
  }
  return undefined;
}
