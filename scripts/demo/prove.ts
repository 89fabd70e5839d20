/**
 * The demo's own check, started by the drill against the recovered server: compares every recovered order with what the
 * shop was told before the disaster, and writes what it found beside that file.
 */
import { readFile, writeFile } from "node:fs/promises";
import pg from "pg";

/** What must be in the recovered table: `[id, cents]`, ascending by id. */
export interface Truth {
  readonly orders: readonly (readonly [number, number])[];
}

/** What was found there. */
export interface Proof {
  readonly expected: number;
  readonly found: number;
  readonly missing: number;
  readonly altered: number;
  readonly unexpected: number;
}

async function prove(truthFile: string, url: string): Promise<Proof> {
  const truth = JSON.parse(await readFile(truthFile, "utf8")) as Truth;
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query<{ id: string; cents: number }>(
    "SELECT id, cents FROM orders ORDER BY id",
  );
  await client.end();
  const found = new Map(rows.map((row) => [Number(row.id), row.cents]));
  const expected = new Map(truth.orders);
  return {
    expected: expected.size,
    found: found.size,
    missing: [...expected.keys()].filter((id) => !found.has(id)).length,
    altered: [...expected].filter(([id, cents]) => found.has(id) && found.get(id) !== cents).length,
    unexpected: [...found.keys()].filter((id) => !expected.has(id)).length,
  };
}

const [, , truthFile = "", proofFile = ""] = process.argv;
const proof = await prove(truthFile, process.env.DRILLBOOK_DB_URL ?? "");
await writeFile(proofFile, JSON.stringify(proof));
console.log(
  `${proof.found} orders found, ${proof.expected} expected: ` +
    `${proof.missing} missing, ${proof.altered} altered, ${proof.unexpected} unexpected.`,
);
if (proof.missing + proof.altered + proof.unexpected > 0 || proof.expected === 0) process.exitCode = 1;
