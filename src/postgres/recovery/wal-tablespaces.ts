import { recordsOf, TABLESPACE_MANAGER } from "../wal-records.ts";

const CREATE = 0x00;
/** `xl_tblspc_create_rec`: the tablespace's oid, then its folder. */
const PATH_OFFSET = 4;
const MAX_PATH = 1024;

/**
 * Folders of the tablespaces that a WAL segment creates, in records that begin at `from` or later. Replaying one makes
 * the server write to the very folder that the source used (tblspc_redo in src/backend/commands/tablespace.c): on the
 * source's own machine that is production's data. A record that begins in the segment before is not seen here, but there.
 */
export function createdTablespaces(segment: Buffer, from: bigint): string[] {
  const found: string[] = [];
  for (const record of recordsOf(segment, [TABLESPACE_MANAGER])) {
    if (record.kind !== CREATE || record.start < from) continue;
    const data = record.mainData(PATH_OFFSET + MAX_PATH).subarray(PATH_OFFSET);
    const end = data.indexOf(0);
    const path = data.subarray(0, end === -1 ? undefined : end).toString("utf8");
    if (path !== "") found.push(path);
  }
  return found;
}
