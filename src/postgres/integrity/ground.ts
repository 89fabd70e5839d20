import type { Context } from "../../context.ts";
import type { CheckResult } from "../../record.ts";
import type { Census } from "../census/document.ts";
import type { Session } from "../checks/session.ts";

/** The recovered server as the integrity checks see it. */
export interface Ground {
  /** All databases that take connections. */
  readonly databases: readonly string[];
  readonly major: number;
  readonly dataChecksums: boolean;
  /** What the source was like when the backup was taken; undefined when no census was taken. */
  readonly census: Census | undefined;
  /** Where recovery ended. */
  readonly reachedLsn: bigint;
  /** The role that was added after the recovery. */
  readonly temporaryRole: string;
  readonly context: Context;
  /** A connection as superuser, on which the source's event triggers do not fire. */
  open(database: string): Promise<Session>;
  /** The same, spelling definitions as the census does. */
  openSpelling(database: string): Promise<Session>;
}

export type Answer = Pick<CheckResult, "status" | "expected" | "actual" | "lines">;

const MOST_LINES = 50;
const LONGEST_LINE = 300;

/** The lines that a record keeps: bounded in number and length. */
export function boundedLines(lines: readonly string[]): string[] {
  const kept = lines.slice(0, MOST_LINES).map((line) => {
    const flat = line.replace(/\s+/g, " ").trim();
    return flat.length > LONGEST_LINE ? `${flat.slice(0, LONGEST_LINE)}…` : flat;
  });
  return lines.length > MOST_LINES ? [...kept, `and ${lines.length - MOST_LINES} more`] : kept;
}

/** Asks every database in turn; `ask` gives the rows of one. */
export async function inEachDatabase<T>(
  ground: Ground,
  work: (session: Session, database: string) => Promise<T[]>,
): Promise<T[]> {
  const found: T[] = [];
  for (const database of ground.databases) {
    const session = await ground.open(database);
    try {
      found.push(...(await work(session, database)));
    } finally {
      await session.close();
    }
  }
  return found;
}
