import { lsn } from "../../catalog/lsn.ts";
import type { Steady } from "../census/document.ts";

/** Whether the census describes exactly what must be there at a position of the WAL. */
export function isSteady({ from, to }: Steady, at: bigint): boolean {
  return lsn(from) <= at && at <= lsn(to);
}
