import type { Flaw, SchemaObject } from "./document.ts";

/** What differs between two looks at objects. */
export interface Difference {
  /** For people, one line each. */
  readonly lines: readonly string[];
  /** Objects of the census that are no more. */
  readonly absent: readonly SchemaObject[];
  readonly changed: number;
  readonly added: number;
}

/** Compares what is there now with the census. Parts of a table that is absent or new are not told one by one. */
export function compareObjects(then: readonly SchemaObject[], now: readonly SchemaObject[]): Difference {
  const before = byIdentity(then);
  const after = byIdentity(now);
  const tablesBefore = tablesOf(then);
  const tablesAfter = tablesOf(now);
  const oidsBefore = new Set(then.flatMap((one) => one.oid ?? []));
  const tableNow = new Map(now.flatMap((one) => (one.oid === undefined ? [] : [[one.oid, one.name]])));

  const absent = [...before.values()].filter((one) => !after.has(identity(one)));
  const added = [...after.values()].filter((one) => !before.has(identity(one)));
  const changed = [...before.values()].flatMap((one) => {
    const other = after.get(identity(one));
    return other === undefined || other.definition === one.definition ? [] : [{ one, other }];
  });
  const told = (one: SchemaObject, tables: ReadonlySet<string>) => one.of === undefined || tables.has(one.of);
  const lines = [
    ...absent
      .filter((one) => told(one, tablesAfter))
      .map((one) => {
        const renamed = one.oid === undefined ? undefined : tableNow.get(one.oid);
        const where = renamed === undefined ? "is not there" : `is now named ${renamed}`;
        return `${one.kind} ${one.name} ${where}`;
      }),
    ...changed.map(({ one, other }) => describeChange(one, other)),
    ...added
      .filter((one) => told(one, tablesBefore) && !(one.oid !== undefined && oidsBefore.has(one.oid)))
      .map((one) => `${one.kind} ${one.name} is new`),
  ];
  return { lines, absent, changed: changed.length, added: added.length };
}

/** Names of tables and views, which are the objects that have parts. */
function tablesOf(objects: readonly SchemaObject[]): Set<string> {
  return new Set(objects.filter((one) => one.oid !== undefined).map((one) => one.name));
}

function describeChange(one: SchemaObject, other: SchemaObject): string {
  const subject = `${one.kind} ${one.name}`;
  if (/^[0-9a-f]{64}$/.test(one.definition)) return `${subject} has another definition`;
  return `${subject} was ${quoted(one.definition)}, is ${quoted(other.definition)}`;
}

function quoted(definition: string): string {
  return definition.length > 120 ? `"${definition.slice(0, 120)}…"` : `"${definition}"`;
}

function identity({ kind, name }: SchemaObject): string {
  return `${kind} ${name}`;
}

function byIdentity(objects: readonly SchemaObject[]): Map<string, SchemaObject> {
  return new Map(objects.map((object) => [identity(object), object]));
}

/** Objects with a flaw, by what the census says of it. */
export interface Flawed {
  /** It had the flaw then. */
  readonly known: readonly SchemaObject[];
  /** It was whole then. */
  readonly turned: readonly SchemaObject[];
  /** The census has no such object. */
  readonly fresh: readonly SchemaObject[];
}

export function compareFlaws(
  then: readonly SchemaObject[],
  now: readonly SchemaObject[],
  flaw: Flaw,
): Flawed {
  const before = byIdentity(then);
  const found = now.filter((one) => one.flaw === flaw);
  const at = (one: SchemaObject) => before.get(identity(one));
  return {
    known: found.filter((one) => at(one)?.flaw === flaw),
    turned: found.filter((one) => at(one) !== undefined && at(one)?.flaw !== flaw),
    fresh: found.filter((one) => at(one) === undefined),
  };
}
