/**
 * Peak memory and rates of the backup and drill bundles on databases of several sizes: `npm run bench -- 3 6 s3:3`
 * (sizes in GB; the store is a folder, or with `s3:` a bucket over HTTP on this machine; that is the default too).
 * Needs about three times the largest size of free disk. Prints a Markdown table.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { generateIdentity, identityToRecipient } from "age-encryption";
import { stringify } from "yaml";
import { variable } from "../scripts/demo/runbook.ts";
import { startPostgres, type TestPostgres } from "../scripts/lib/postgres.ts";
import { type StepOptions, type StepResult, startStep } from "../scripts/lib/runner.ts";
import { startS3 } from "../test/support/s3.ts";

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

async function bench(kind: string, gigabytes: number): Promise<string[]> {
  const s3 = kind === "s3" ? await startS3() : undefined;
  const workspace = await mkdtemp(join(tmpdir(), "drillbook-bench-"));
  await using server = await startPostgres({ settings: { max_wal_size: "4GB", shared_buffers: "256MB" } });
  try {
    const bytes = await fill(server, gigabytes);
    const identity = await generateIdentity();
    const recipients = [await identityToRecipient(identity)];
    const runbook = join(workspace, "runbook.yml");
    const store =
      s3 === undefined
        ? { type: "file", path: join(workspace, "store") }
        : { type: "s3", bucket: s3.bucket, endpoint: s3.endpoint, region: "us-east-1" };
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
    const env = { DATABASE_URL: server.url, AGE_IDENTITY: identity, ...s3?.env };
    const backup = await measure("backup", { workspace, env, with: { runbook } });
    const drill = await measure("pitr-drill", { workspace, env, with: { runbook } });
    return [row(bytes, kind, "backup", backup), row(bytes, kind, "pitr-drill", drill)];
  } finally {
    await s3?.close();
    await rm(workspace, { recursive: true, force: true });
  }
}

function row(bytes: number, kind: string, action: string, { seconds, peakBytes }: Measured): string {
  const cells = [
    `${(bytes / 1e9).toFixed(2)} GB`,
    kind,
    action,
    `${seconds.toFixed(1)} s`,
    `${Math.round(bytes / seconds / MB)} MB/s`,
    `${Math.round(peakBytes / MB)} MB`,
  ];
  return `| ${cells.join(" | ")} |`;
}

const runs = process.argv.slice(2);
console.log(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.versions.node}\n`);
console.log("| Database | Store | Action | Time | Rate | Peak memory |");
console.log("| --- | --- | --- | ---: | ---: | ---: |");
for (const run of runs.length > 0 ? runs : ["3", "6", "s3:3"]) {
  const [, kind = "file", size = "3"] = /^(?:(\w+):)?([\d.]+)$/.exec(run) ?? [];
  for (const line of await bench(kind, Number(size))) console.log(line);
}
