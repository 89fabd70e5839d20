import type { BackupManifest } from "../../../../src/catalog/manifest.ts";
import type { ComponentSetting } from "../../../../src/component.ts";
import { type Census, censusOf, type DatabaseCensus } from "../../../../src/postgres/census/document.ts";
import { readCensus } from "../../../../src/postgres/census/store.ts";

/** The census that was written with a backup. */
export async function censusOfBackup(
  setting: Pick<ComponentSetting<unknown>, "name" | "store" | "encryption">,
  manifest: BackupManifest | undefined,
): Promise<Census> {
  if (manifest === undefined) throw new Error("no backup");
  const census = await readCensus(setting, manifest, new AbortController().signal);
  if (census === undefined) throw new Error("the backup has no census");
  return census;
}

export function databaseIn(census: Census, database: string): DatabaseCensus {
  const found = censusOf(census, database);
  if (found === undefined) throw new Error(`the census has no database ${database}`);
  return found;
}

/** The number of rows of each table, or why it is not known. */
export function rowsOf(census: Census, database: string): Record<string, number | string> {
  return Object.fromEntries(
    databaseIn(census, database).rows.map((one) => [one.table, "rows" in one ? one.rows : one.notCaptured]),
  );
}
