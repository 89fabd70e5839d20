import { formatLsn } from "../catalog/lsn.ts";
import { formatMicros } from "../targets.ts";

/** Where a recovery ends, once the target is resolved: what PostgreSQL is told, and what its log must say at the end. */
export type Goal =
  /** `micros`: the moment that the point stands for. */
  | { readonly kind: "restore-point"; readonly name: string; readonly lsn: bigint; readonly micros: bigint }
  | { readonly kind: "time"; readonly micros: bigint; readonly exclusive: boolean }
  | { readonly kind: "lsn"; readonly lsn: bigint; readonly exclusive: boolean }
  /** `xid` without its epoch, as WAL has it. */
  | { readonly kind: "xid"; readonly xid: bigint; readonly exclusive: boolean }
  | { readonly kind: "immediate" };

/** The goal in words, for logs, messages and the record. */
export function describeGoal(goal: Goal): string {
  switch (goal.kind) {
    case "immediate":
      return "immediate";
    case "restore-point":
      return `restore point ${goal.name}`;
    case "time":
      return withSide(formatMicros(goal.micros), goal.exclusive);
    case "lsn":
      return withSide(`LSN ${formatLsn(goal.lsn)}`, goal.exclusive);
    case "xid":
      return withSide(`transaction ${goal.xid}`, goal.exclusive);
  }
}

function withSide(goal: string, exclusive: boolean): string {
  return exclusive ? `just before ${goal}` : goal;
}
