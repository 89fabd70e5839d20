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
