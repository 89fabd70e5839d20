/** Which transactions had ended at a moment; numbers have their epoch. */
export interface Snapshot {
  /** All before this one had ended. */
  readonly xmin: bigint;
  /** None from this one on had begun. */
  readonly xmax: bigint;
  /** Those between them that were still running. */
  readonly running: readonly bigint[];
}

/** Reads `<xmin>:<xmax>:<xid>,<xid>,…` (manual: "Transaction ID and Snapshot Information Functions"); undefined for anything else. */
export function parseSnapshot(text: string | undefined): Snapshot | undefined {
  const match = /^(\d+):(\d+):(\d+(?:,\d+)*)?$/.exec(text ?? "");
  if (match === null) return undefined;
  const [, xmin = "", xmax = "", running] = match;
  return { xmin: BigInt(xmin), xmax: BigInt(xmax), running: running?.split(",").map(BigInt) ?? [] };
}

/** Whether a transaction had committed or aborted by then. */
export function hasEnded(snapshot: Snapshot, xid: bigint): boolean {
  if (xid < snapshot.xmin) return true;
  return xid < snapshot.xmax && !snapshot.running.includes(xid);
}

const XID_BITS = 32;
const HALF = 2n ** 31n;

/**
 * A transaction's number with its epoch. One without, as WAL and logs have it, stands for the transaction of that number
 * that is nearest to the snapshot's end, as PostgreSQL itself compares them.
 */
export function withEpoch(xid: bigint, { xmax }: Snapshot): bigint {
  if (xid >= 2n ** BigInt(XID_BITS)) return xid;
  const back = BigInt.asUintN(XID_BITS, xmax - xid);
  const whole = back <= HALF ? xmax - back : xmax + BigInt.asUintN(XID_BITS, xid - xmax);
  return whole > 0n ? whole : xid;
}

/** A transaction's number as WAL has it: without its epoch. */
export function withoutEpoch(xid: bigint): bigint {
  return BigInt.asUintN(XID_BITS, xid);
}
