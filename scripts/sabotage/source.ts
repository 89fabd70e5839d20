import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { generateIdentity, identityToRecipient } from "age-encryption";
import { stringify } from "yaml";
import { runBackups } from "../../src/backup/run.ts";
import type { Context } from "../../src/context.ts";
import { drillOnce } from "../../src/drill/drill-once.ts";
import { variable } from "../demo/runbook.ts";
import type { TestPostgres } from "../lib/postgres.ts";

/** A server, a store and the runbook that ties them together. */
export interface Place {
  readonly runbookFile: string;
  /** The component that is looked at. */
  readonly component: string;
  readonly context: Context;
  /** The folder of the store, when it is one. */
  readonly storeDir: string;
  backup(
    kind?: "full" | "wal",
    more?: { readonly component?: string; readonly prune?: boolean },
  ): Promise<void>;
  /** A drill whose record goes into the store. Throws unless it is passed. */
  drill(): Promise<void>;
}

export interface PlaceOptions {
  /** Servers by the name of the component; the first is the one that is looked at. */
  readonly servers: Readonly<Record<string, TestPostgres>>;
  /** The store's place; a folder unless given. */
  readonly store?: Readonly<Record<string, unknown>>;
  readonly sealed?: boolean;
  /** More keys of the first component. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
}

/** Writes a runbook as a user would, for a store in a fresh folder. */
export async function makePlace(name: string, options: PlaceOptions, context: Context): Promise<Place> {
  const folder = join(context.workDir, name);
  const storeDir = join(folder, "store");
  await mkdir(folder, { recursive: true });
  const identity = await generateIdentity();
  const env: Record<string, string> = { ...options.env, AGE_IDENTITY: identity };
  const [first] = Object.keys(options.servers);
  const components: Record<string, unknown> = {};
  for (const [component, server] of Object.entries(options.servers)) {
    const connection = `URL_OF_${component.toUpperCase()}`;
    env[connection] = server.url;
    components[component] = {
      type: "postgres",
      store: "offsite",
      connection: variable(connection),
      wal: { slot: `${name}_${component}`.replaceAll("-", "_") },
      server: { runtime: "local", "bin-dir": server.binDir },
      freshness: { backup: "26h", wal: "1h" },
      retention: { keep: "30d", minimum: 1 },
      checks: [{ query: "SELECT count(*) FROM orders", expect: ">= 1000" }, { rows: "customers" }],
      ...(component === first ? options.config : {}),
    };
  }
  const encryption = {
    recipients: [await identityToRecipient(identity)],
    identity: variable("AGE_IDENTITY"),
  };
  const runbookFile = join(folder, "runbook.yml");
  const place = options.store ?? { type: "file", path: storeDir };
  const runbook = {
    version: 1,
    service: "shop",
    owner: "platform-team",
    objectives: { drill: { rto: "10m", rpo: "24h" } },
    stores: { offsite: options.sealed === false ? place : { ...place, encryption } },
    components,
    scenarios: {
      "database-lost": { title: "The database is gone", every: "90d", steps: [{ recover: first }] },
    },
  };
  await writeFile(runbookFile, stringify(runbook));
  const own = { ...context, env: { ...context.env, ...env } };
  return {
    runbookFile,
    component: first ?? "",
    storeDir,
    context: own,
    async backup(kind = "full", { component = first ?? "", prune = false } = {}) {
      const request = {
        runbook: runbookFile,
        components: [component],
        kind,
        streamSeconds: 0,
        prune: prune ? "true" : "false",
      } as const;
      (await runBackups(request, own)).assertSucceeded();
    },
    async drill() {
      const { record } = await drillOnce(
        {
          ...{ runbookFile, facts: {}, scenario: "database-lost", environment: "drill", target: "latest" },
          ...{ backup: "existing", keep: false, operator: "sabotage", reportDir: join(folder, "reports") },
          run: { url: null, attempt: null, sha: null },
          redact: (text) => text,
        },
        own,
      );
      if (record.verdict !== "passed") throw new Error(`The first drill is not passed: ${record.reasons[0]}`);
    },
  };
}

/** Tables, a role, an index, sequences: something of everything that a backup can lose. */
export async function fill(server: TestPostgres): Promise<void> {
  for (const statement of [
    "CREATE ROLE shop_app LOGIN",
    "CREATE TABLE customers AS SELECT n AS id, md5(n::text) AS name FROM generate_series(1, 3000) n",
    `CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text NOT NULL,
       created_at timestamptz NOT NULL DEFAULT clock_timestamp())`,
    "CREATE INDEX orders_note ON orders (note)",
    "INSERT INTO orders (note) SELECT md5(n::text) FROM generate_series(1, 5000) n",
  ]) {
    await server.query(statement);
  }
}

/** Writes so much that several segments of 1 MB are filled, with commits in each. */
export async function sell(server: TestPostgres, segments = 1): Promise<void> {
  for (let done = 0; done < segments; done += 1) {
    await server.query("INSERT INTO orders (note) SELECT md5(random()::text) FROM generate_series(1, 500)");
    await server.query("SELECT pg_switch_wal()");
  }
}
