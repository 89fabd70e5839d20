/**
 * Peak memory and rates of the backup and drill bundles on databases of several sizes: `node bench/memory.ts 3 6`
 * (sizes in GB; default 3 and 6). Needs about three times the largest size of free disk. Prints a Markdown table.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { generateIdentity, identityToRecipient } from "age-encryption";
import { stringify } from "yaml";
import { variable } from "../scripts/demo/runbook.ts";
import { startPostgres, type TestPostgres } from "../scripts/lib/postgres.ts";
import { type StepOptions, type StepResult, startStep } from "../scripts/lib/runner.ts";

interface Measured {
  readonly seconds: number;
  /** Highest resident memory of the bundle's own process. */
  readonly peakBytes: number;
  readonly result: StepResult;
}

const MB = 1e6;
const ROWS_PER_GB = 2_600_000;

async function measure(action: string, options: StepOptions): Promise<Measured> {
  const step = await startStep(action, { ...options, timeoutMs: 3_600_000 });
  let peakBytes = 0;
  const timer = setInterval(async () => {
    // VmHWM is the peak so far: no sample between two looks is lost (proc_pid_status(5)).
    const status = await readFile(`/proc/${step.pid}/status`, "utf8").catch(() => "");
    const kilobytes = Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0);
    peakBytes = Math.max(peakBytes, kilobytes * 1024);
  }, 50);
  const result = await step.done;
  clearInterval(timer);
  if (result.exitCode !== 0) throw new Error(`${action} ended with ${result.exitCode}:\n${result.visible}`);
  return { seconds: result.seconds, peakBytes, result };
}

/** Half of each row is hex of a digest, which compresses, and half is random, which does not. */
async function fill(server: TestPostgres, gigabytes: number): Promise<number> {
  await server.query("CREATE TABLE orders (id bigint, note text, random bytea)");
  const rows = Math.round(ROWS_PER_GB * gigabytes);
  const step = 200_000;
  const random = Array.from(
    { length: 10 },
    (_, index) => `uuid_send(gen_random_uuid())${index < 9 ? " ||" : ""}`,
  );
  for (let from = 1; from <= rows; from += step) {
    const to = Math.min(from + step - 1, rows);
    await server.query(
      `INSERT INTO orders SELECT n, md5(n::text) || md5((n + 1)::text) || md5((n + 2)::text) || md5((n + 3)::text), ${random.join(" ")}
       FROM generate_series(${from}::bigint, ${to}) n`,
    );
  }
  await server.query("CHECKPOINT");
  const [row] = await server.query<{ bytes: string }>(
    "SELECT sum(pg_database_size(oid)) AS bytes FROM pg_database",
  );
  return Number(row?.bytes);
}

async function bench(gigabytes: number): Promise<string[]> {
  const workspace = await mkdtemp(join(tmpdir(), "drillbook-bench-"));
  await using server = await startPostgres({ settings: { max_wal_size: "4GB", shared_buffers: "256MB" } });
  try {
    const bytes = await fill(server, gigabytes);
    const identity = await generateIdentity();
    const recipients = [await identityToRecipient(identity)];
    const runbook = join(workspace, "runbook.yml");
    const store = { type: "file", path: join(workspace, "store") };
    await writeFile(
      runbook,
      stringify({
        version: 1,
        service: "bench",
        owner: "bench",
        stores: { local: { ...store, encryption: { recipients, identity: variable("AGE_IDENTITY") } } },
        components: {
          db: {
            type: "postgres",
            store: "local",
            connection: variable("DATABASE_URL"),
            wal: { slot: "drillbook" },
            server: { runtime: "local", "bin-dir": server.binDir },
            checks: [
              { query: "SELECT count(*) FROM orders", expect: `= ${Math.round(ROWS_PER_GB * gigabytes)}` },
            ],
          },
        },
      }),
    );
    const env = { DATABASE_URL: server.url, AGE_IDENTITY: identity };
    const backup = await measure("backup", { workspace, env, with: { runbook } });
    const drill = await measure("pitr-drill", { workspace, env, with: { runbook } });
    return [row(bytes, "backup", backup), row(bytes, "pitr-drill", drill)];
  } finally {
    await rm(workspace, { recursive: true, force: true });
  }
}

function row(bytes: number, action: string, { seconds, peakBytes }: Measured): string {
  const cells = [
    `${(bytes / 1e9).toFixed(2)} GB`,
    action,
    `${seconds.toFixed(1)} s`,
    `${Math.round(bytes / seconds / MB)} MB/s`,
    `${Math.round(peakBytes / MB)} MB`,
  ];
  return `| ${cells.join(" | ")} |`;
}

const sizes = process.argv.slice(2).map(Number);
console.log(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.versions.node}\n`);
console.log("| Database | Action | Time | Rate | Peak memory |\n| --- | --- | ---: | ---: | ---: |");
for (const gigabytes of sizes.length > 0 ? sizes : [3, 6]) {
  for (const line of await bench(gigabytes)) console.log(line);
}
