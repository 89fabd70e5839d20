import { z } from "zod";

/**
 * The census: what the source was like when a backup was taken. Written as `census.json.zst[.age]` beside the backup.
 * It holds names, definitions and numbers of rows, never what is in a table. LSNs are spelled `0/1A2B3C4D`, times are
 * RFC 3339 in UTC from the server's clock.
 */

/**
 * Between these positions of the WAL the objects were seen unchanged: they were the same in a look before `from` and
 * in one after `to`.
 */
const steady = z.object({ from: z.string(), to: z.string() });
export type Steady = z.infer<typeof steady>;

const schemaObject = z.object({
  /** `table`, `column`, `index`, `role`, …: for people. */
  kind: z.string(),
  /** Quoted where SQL wants it, with its schema and table. */
  name: z.string(),
  /** SQL or words; of functions and views the SHA-256. */
  definition: z.string(),
  oid: z.string().optional(),
  /** The table that it belongs to. */
  of: z.string().optional(),
  /** A state that the source itself has. */
  flaw: z.enum(["invalid", "not valid", "unpopulated"]).optional(),
});
export type SchemaObject = z.infer<typeof schemaObject>;
export type Flaw = NonNullable<SchemaObject["flaw"]>;

const tableRows = z.union([
  z.object({ table: z.string(), rows: z.number() }),
  z.object({ table: z.string(), notCaptured: z.string() }),
]);
export type TableRows = z.infer<typeof tableRows>;

const sequence = z.object({
  name: z.string(),
  /** Null when the role may not read it, or when it was never used. */
  lastValue: z.string().nullable(),
  isCalled: z.boolean().nullable(),
  /** Whether it would next give a value that its column has or has passed; null when that is unknown. */
  behind: z.boolean().nullable(),
});
export type SequenceState = z.infer<typeof sequence>;

const databaseCensus = z.object({
  name: z.string(),
  /** When and where its snapshot was taken. */
  capturedAt: z.string(),
  lsn: z.string(),
  steady,
  objects: z.array(schemaObject),
  sequences: z.array(sequence),
  rows: z.array(tableRows),
});
export type DatabaseCensus = z.infer<typeof databaseCensus>;

export const census = z.object({
  schema: z.literal("drillbook/postgres-census/v1"),
  backupId: z.string(),
  roles: z.object({ steady, objects: z.array(schemaObject) }),
  databases: z.array(z.union([databaseCensus, z.object({ name: z.string(), notCaptured: z.string() })])),
  /** What the tables of the runbook's `rows` checks are in full; null when there is no such table. */
  tables: z.record(z.string(), z.string().nullable()),
});
export type Census = z.infer<typeof census>;

/** The census of one database; undefined when it was not captured. */
export function censusOf(document: Census | undefined, database: string): DatabaseCensus | undefined {
  const found = document?.databases.find((one) => one.name === database);
  return found === undefined || "notCaptured" in found ? undefined : found;
}
