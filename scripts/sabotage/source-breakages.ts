import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Context } from "../../src/context.ts";
import { startPostgres, type TestPostgres } from "../lib/postgres.ts";
import { availableMajors } from "../lib/postgres-binaries.ts";
import { drill, type Expected } from "./breakage.ts";
import { fill, makePlace } from "./source.ts";

/** Something that was wrong in the source: the backup is whole, and what comes back is not. */
export interface SourceBreakage {
  readonly name: string;
  readonly sentence: string;
  readonly expected: Expected;
  /** Before the backup is taken. */
  readonly before?: (server: TestPostgres) => Promise<void>;
  /** After the backup, before its last WAL. */
  readonly after?: (server: TestPostgres) => Promise<void>;
}

const PAGE = 8192;

/** Changes the file of a relation while the server is stopped. */
async function whileStopped(server: TestPostgres, relation: string, change: (file: string) => Promise<void>) {
  await server.query("CHECKPOINT");
  const [row] = await server.query<{ path: string }>("SELECT pg_relation_filepath($1) AS path", [relation]);
  await server.stop();
  await change(join(server.dataDir, row?.path ?? ""));
  await server.restart();
}

async function zeroPage(file: string, page: number): Promise<void> {
  const bytes = await readFile(file);
  bytes.fill(0, page * PAGE, (page + 1) * PAGE);
  await writeFile(file, bytes);
}

export const SOURCE: readonly SourceBreakage[] = [
  {
    name: "table emptied",
    sentence: "Somebody empties a table in the source before the backup",
    expected: drill("SELECT count(*) FROM orders failed"),
    before: async (server) => void (await server.query("TRUNCATE orders")),
  },
  {
    name: "index corrupted",
    sentence: "An index of the source lacks rows that the table has",
    expected: drill("integrity: B-tree indexes (amcheck) failed"),
    async before(server) {
      let old: Buffer = Buffer.alloc(0);
      await whileStopped(server, "orders_note", async (file) => {
        old = await readFile(file);
      });
      await server.query("INSERT INTO orders (note) SELECT 'later ' || n FROM generate_series(1, 10) n");
      await whileStopped(server, "orders_note", async (file) => await writeFile(file, old));
    },
  },
  {
    name: "heap page zeroed",
    sentence: "A page of a table is zeroed in a source without checksums",
    expected: drill("SELECT count(*) FROM customers failed"),
    before: async (server) => await whileStopped(server, "customers", (file) => zeroPage(file, 1)),
  },
  {
    name: "heap page broken",
    sentence: "A line pointer is overwritten in a source without checksums",
    expected: drill("integrity: tables (amcheck) failed"),
    before: async (server) =>
      await whileStopped(server, "customers", async (file) => {
        const bytes = await readFile(file);
        // The first line pointer: in use, 28 bytes at an offset behind the end of the page's tuples.
        bytes.writeUInt32LE(0x7ff8 | (1 << 15) | (28 << 17), 24);
        await writeFile(file, bytes);
      }),
  },
  {
    name: "sequence set back",
    sentence: "A sequence falls behind its column after the census",
    expected: drill("integrity: sequences failed"),
    after: async (server) => void (await server.query("SELECT setval('orders_id_seq', 1)")),
  },
];

/** A source that is made anew for each breakage, and the store that its backup went into. */
export async function brokenSource(breakage: SourceBreakage, context: Context, stack: AsyncDisposableStack) {
  const major = availableMajors().at(-1) ?? 0;
  const initdbArgs = ["--wal-segsize=1", ...(major >= 18 ? ["--no-data-checksums"] : [])];
  const server = stack.use(await startPostgres({ initdbArgs, settings: { autovacuum: false } }));
  await fill(server);
  await breakage.before?.(server);
  const name = breakage.name.replaceAll(" ", "-");
  const checks = [
    { query: "SELECT count(*) FROM orders", expect: ">= 1000" },
    { query: "SELECT count(*) FROM customers", expect: "= 3000" },
  ];
  const place = await makePlace(name, { servers: { db: server }, config: { checks } }, context);
  await place.backup();
  await breakage.after?.(server);
  await place.backup("wal");
  return place;
}
