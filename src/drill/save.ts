import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { drillKey } from "../catalog/layout.ts";
import type { Context } from "../context.ts";
import { messageOf, ToolError } from "../errors.ts";
import { type DrillRecord, drillRecord } from "../record.ts";
import type { Store } from "../stores/store.ts";
import { RECORD_IN_STORE, RECORD_NOT_STORED } from "./facts.ts";

export interface SaveOptions {
  readonly reportDir: string;
  redact(text: string): string;
  store(): Promise<Store>;
  readonly context: Context;
}

/**
 * Writes the record into the store and into `<reportDir>/<id>.json`, secrets taken out. Evidence that is on the runner's
 * disk alone is gone with the runner, so a record that could not be stored is `unverified` unless it is worse. Throws a
 * ToolError when the file can't be written.
 */
export async function saveRecord(
  draft: DrillRecord,
  options: SaveOptions,
): Promise<{ readonly record: DrillRecord; readonly recordPath: string }> {
  const { redact, context } = options;
  let record = clean(draft, redact);
  try {
    const store = await options.store();
    const key = drillKey(draft.id);
    const stored = clean(withFact(draft, store.describe(key)), redact);
    await store.put(key, bytesOf(stored), { signal: context.signal });
    record = stored;
  } catch (error) {
    const sentence = `The record of the drill could not be written into the store: ${messageOf(error)}`;
    context.log.warning(sentence);
    const verdict = draft.verdict === "passed" ? "unverified" : draft.verdict;
    const reasons = [...draft.reasons, sentence];
    record = clean(withFact({ ...draft, verdict, reasons }, RECORD_NOT_STORED), redact);
  }
  return { record, recordPath: await writeRecord(record, options.reportDir) };
}

function withFact(record: DrillRecord, where: string): DrillRecord {
  return { ...record, environmentFacts: { ...record.environmentFacts, [RECORD_IN_STORE]: where } };
}

/** The record as the schema has it, with no secret in any of its free texts and no digits that no clock gave. */
function clean(record: DrillRecord, redact: (text: string) => string): DrillRecord {
  return drillRecord.parse(cleanAll(record, redact));
}

/** Words of the format and names out of the runbook: a password that is such a word too must not break the record. */
const NAMES: ReadonlySet<string> = new Set([
  ...["schema", "id", "verdict", "status", "kind", "startedAt", "finishedAt"],
  ...["service", "environment", "scenario", "component", "backupId"],
]);

function cleanAll(value: unknown, redact: (text: string) => string): unknown {
  if (typeof value === "string") return redact(value);
  if (typeof value === "number") return Math.round(value * 1e6) / 1e6;
  if (Array.isArray(value)) return value.map((item) => cleanAll(item, redact));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, child]) => {
      const kept = NAMES.has(key) && typeof child === "string";
      return [key, kept ? child : cleanAll(child, redact)];
    }),
  );
}

async function* bytesOf(record: DrillRecord): AsyncGenerator<Uint8Array> {
  yield Buffer.from(textOf(record));
}

function textOf(record: DrillRecord): string {
  return `${JSON.stringify(record, null, 2)}\n`;
}

/** Written beside and renamed, so that nobody ever reads half a record. */
async function writeRecord(record: DrillRecord, folder: string): Promise<string> {
  const path = join(folder, `${record.id}.json`);
  const draft = `${path}.part`;
  try {
    await mkdir(folder, { recursive: true });
    await writeFile(draft, textOf(record), { mode: 0o644 });
    await rename(draft, path);
    return path;
  } catch (error) {
    await rm(draft, { force: true }).catch(() => undefined);
    throw new ToolError(
      `The drill record ${path} could not be written (${messageOf(error)}): make the folder of the input report-dir writable.`,
      { cause: error },
    );
  }
}
