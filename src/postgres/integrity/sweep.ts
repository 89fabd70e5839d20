import { AbortedError } from "../../errors.ts";
import { startProgress } from "../../progress.ts";
import type { Session } from "../checks/session.ts";
import { type Borrowed, borrowExtension } from "./borrow.ts";
import { provesDamage, tell } from "./damage.ts";
import { type Answer, boundedLines, type Ground } from "./ground.ts";

/** Something to be looked at: a relation, or a fork of one. */
export interface Item {
  readonly database: string;
  readonly oid: string;
  /** For people, without the database. */
  readonly name: string;
  readonly bytes: number;
  /** More columns of the list's rows. */
  readonly more: readonly (string | null)[];
}

interface SweepPlan {
  /** For the log. */
  readonly label: string;
  /** The extension that is needed. */
  readonly extension: string;
  /** SQL that answers oid, name, bytes and more columns, and whether the relation is shared as the last. */
  readonly list: string;
  /** Leaves out an item that is proven otherwise. */
  wanted?(item: Item): boolean;
  /** What is wrong with it; undefined when nothing is. An error that proves damage counts as a finding. */
  look(session: Session, item: Item, extension: Borrowed): Promise<string | undefined>;
  /** Why damage that was found proves nothing about the backup; undefined when it does. */
  excuse?(item: Item, error: unknown): string | undefined;
}

export interface Swept {
  readonly total: number;
  /** How many were looked at, damaged or not. */
  readonly checked: number;
  /** The relations that were, see {@link keyOf}. */
  readonly seen: ReadonlySet<string>;
  readonly damaged: readonly string[];
  /** Those that nothing is known about, with the reason. */
  readonly unknown: readonly string[];
}

/** Enough to use a second core, few enough to leave the machine usable. */
const PARALLEL = 2;

/** Looks at every relation of every database, the largest first, over two connections. */
export async function sweep(ground: Ground, plan: SweepPlan): Promise<Swept> {
  const lists = new Map<string, Item[]>();
  for (const [index, database] of ground.databases.entries()) {
    lists.set(database, await listItems(ground, database, plan, index === 0));
  }
  const items = [...lists.values()].flat();
  const total = items.reduce((sum, item) => sum + item.bytes, 0);
  const progress = startProgress(ground.context, plan.label, total);
  const found: Findings = { checked: 0, seen: new Set(), damaged: [], unknown: [] };
  for (const [database, list] of lists) {
    if (list.length > 0) {
      const onDone = (item: Item) => progress.add(item.bytes);
      await sweepDatabase(ground, database, list, plan, found, onDone).catch((error: unknown) => {
        if (error instanceof AbortedError) throw error;
        // What was found in the others still counts.
        found.unknown.push(`${database}: ${tell(error)}`);
      });
    }
  }
  progress.done();
  return { ...found, total: items.length };
}

async function listItems(ground: Ground, database: string, plan: SweepPlan, first: boolean): Promise<Item[]> {
  const session = await ground.open(database);
  try {
    const rows = await session.query(plan.list);
    return rows
      .filter((row) => first || row.at(-1) !== "t")
      .map(([oid, name, bytes, ...more]) => ({
        database,
        oid: oid ?? "",
        name: name ?? "",
        bytes: Number(bytes),
        more,
      }))
      .filter((item) => plan.wanted?.(item) ?? true)
      .sort((a, b) => b.bytes - a.bytes);
  } finally {
    await session.close();
  }
}

interface Findings {
  checked: number;
  readonly seen: Set<string>;
  readonly damaged: string[];
  readonly unknown: string[];
}

async function sweepDatabase(
  ground: Ground,
  database: string,
  items: readonly Item[],
  plan: SweepPlan,
  found: Findings,
  onDone: (item: Item) => void,
): Promise<void> {
  const queue = [...items];
  const sessions: Session[] = [];
  try {
    const first = await ground.open(database);
    sessions.push(first);
    const extension = await borrowExtension(first, plan.extension, ground.major);
    while (sessions.length < Math.min(PARALLEL, items.length)) sessions.push(await ground.open(database));
    const work = async (session: Session) => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
        await lookAt(session, item, extension, plan, found);
        onDone(item);
      }
    };
    const ends = await Promise.allSettled(sessions.map(work));
    for (const end of ends) if (end.status === "rejected") throw end.reason;
    await extension.giveBack();
  } finally {
    await Promise.all(sessions.map((session) => session.close()));
  }
}

async function lookAt(
  session: Session,
  item: Item,
  extension: Borrowed,
  plan: SweepPlan,
  found: Findings,
): Promise<void> {
  const name = `${item.database}: ${item.name}`;
  try {
    const trouble = await plan.look(session, item, extension);
    if (trouble !== undefined) found.damaged.push(`${name}: ${trouble}`);
    found.seen.add(keyOf(item));
    found.checked += 1;
  } catch (error) {
    if (error instanceof AbortedError) throw error;
    const line = `${name}: ${tell(error)}`;
    if (!provesDamage(error)) {
      found.unknown.push(line);
      return;
    }
    found.seen.add(keyOf(item));
    const excuse = plan.excuse?.(item, error);
    if (excuse !== undefined) {
      found.unknown.push(`${line} (${excuse})`);
      return;
    }
    found.damaged.push(line);
    found.checked += 1;
  }
}

export function keyOf(item: Pick<Item, "database" | "oid">): string {
  return `${item.database}/${item.oid}`;
}

/** What a sweep says in the record. */
export function sweepAnswer(swept: Swept, expected: string): Answer {
  const { total, checked, damaged, unknown } = swept;
  const parts = [`checked ${checked} of ${total}`];
  if (damaged.length > 0) parts.push(`${damaged.length} damaged: ${damaged[0]}`);
  if (unknown.length > 0) parts.push(`${unknown.length} not proven: ${unknown[0]}`);
  const status = damaged.length > 0 ? "failed" : unknown.length > 0 ? "unverified" : "passed";
  const lines = boundedLines([...damaged, ...unknown]);
  return { status, expected, actual: parts.join(", "), ...(lines.length === 0 ? {} : { lines }) };
}
