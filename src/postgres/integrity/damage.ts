import { codeOf, messageOf } from "../../errors.ts";

/** SQLSTATEs of data_corrupted and index_corrupted. */
const DAMAGE = new Set(["XX001", "XX002"]);

/** The server's words for a file of the data folder that is not there; they share their SQLSTATE with other files. */
const FILE_GONE =
  /could not open file "(?:base|global|pg_tblspc|pg_xact|pg_multixact|pg_commit_ts)\/|could not access status of transaction|fork "main" does not exist/;

/** Whether an error proves that data is damaged. Any other leaves it unknown. */
export function provesDamage(error: unknown): boolean {
  const code = codeOf(error);
  if (code !== undefined && DAMAGE.has(code)) return true;
  return FILE_GONE.test(messageOf(error));
}

/** Classes of SQLSTATE whose messages name objects and files, and never what is in a row. */
const HARMLESS = /^(?:08|0A|3D|3F|42|53|54|55|57|58|XX)/;

/** What an error says, unless it may repeat a value of a table: an index may call any function. */
export function tell(error: unknown): string {
  const code = codeOf(error);
  if (code === undefined || !/^[0-9A-Z]{5}$/.test(code) || HARMLESS.test(code)) return messageOf(error);
  return `the server's error ${code}`;
}
