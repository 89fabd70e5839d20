/**
 * The whole story on this machine in under a minute: a PostgreSQL under writes is backed up, somebody deletes all orders,
 * the server dies, and the drill brings back the second before. Exits with 0 only if every order is proven to be back.
 */
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { generateIdentity, identityToRecipient } from "age-encryption";
import { drillRecord } from "../src/record.ts";
import { formatMicros } from "../src/targets.ts";
import type { Proof, Truth } from "./demo/prove.ts";
import { demoRunbook } from "./demo/runbook.ts";
import { type Order, openShop } from "./demo/shop.ts";
import { ROOT } from "./lib/action-metadata.ts";
import { guardedFolder } from "./lib/guard.ts";
import { startPostgres } from "./lib/postgres.ts";
import { runStep, type StepResult } from "./lib/runner.ts";

const RESULT = join(ROOT, ".demo");
const startedAt = performance.now();

async function main(): Promise<void> {
  const folder = await guardedFolder("drillbook-demo-");
  try {
    await demo(folder.path);
  } finally {
    await folder.remove();
  }
}

async function demo(workspace: string): Promise<void> {
  say("Starting PostgreSQL with an orders table and a steady writer.");
  await using server = await startPostgres({ settings: { track_commit_timestamp: true } });
  const shop = await openShop(server);
  const identity = await generateIdentity();
  const recipient = await identityToRecipient(identity);
  const runbook = join(workspace, "runbook.yml");
  await writeFile(runbook, demoRunbook({ workspace, recipient, binDir: server.binDir }));
  await writeFile(join(workspace, "prove.sh"), proveScript(workspace), { mode: 0o755 });
  const env = { DATABASE_URL: server.url, AGE_IDENTITY: identity };
  const step = (action: string, inputs: Record<string, string>) =>
    runStep(action, { workspace, env, with: { runbook, ...inputs }, onLine: quote });

  say(`PostgreSQL ${server.major} runs on port ${server.port}. Action backup: a base backup, encrypted.`);
  const backup = must(await step("backup", {}));
  say(
    `Backup ${backup.outputs["backup-id"]}, ${backup.outputs.bytes} bytes in the store. The shop goes on selling.`,
  );
  await sleep(1000);

  say("Action backup with kind: wal.");
  must(await step("backup", { kind: "wal" }));
  await sleep(500);

  const deletion = await shop.deleteAllOrders();
  const target = formatMicros(deletion.committedMicros - 1n);
  say(
    `Somebody deletes all orders: ${deletion.rows} rows, committed at ${formatMicros(deletion.committedMicros)}.`,
  );
  await sleep(500);
  say("The next WAL run comes by, as scheduled. The deletion is now in the archive, too.");
  must(await step("backup", { kind: "wal" }));

  await server.kill9();
  await shop.close();
  await server.wipe();
  say("kill -9, and the data folder is wiped: there is no server any more.");

  const lost = shop.orders.filter((order) => order.committedMicros < deletion.committedMicros);
  await writeTruth(workspace, lost);
  say(`Action pitr-drill with target ${target}, one microsecond before the deletion.`);
  const drill = await step("pitr-drill", {
    scenario: "orders-deleted",
    target,
    "report-dir": "drill-reports",
  });
  await keep(workspace, drill);
  must(drill);
  say("Action report.");
  const report = must(await step("report", { records: "drill-reports/*.json" }));
  const reportFile = join(RESULT, "report.md");
  await cp(join(workspace, relativeTo(workspace, report.outputs["report-path"])), reportFile);

  await conclude(workspace, drill, lost, deletion.committedMicros);
  say(`The report: ${relative(process.cwd(), reportFile)}`);
}

/** The user's own check: any command can be one. */
function proveScript(workspace: string): string {
  const words = [process.execPath, join(ROOT, "scripts/demo/prove.ts")];
  const files = [join(workspace, "truth.json"), join(workspace, "proof.json")];
  const quoted = [...words, ...files].map((word) => `'${word.replaceAll("'", "'\\''")}'`);
  return `#!/bin/sh\nexec ${quoted.join(" ")}\n`;
}

async function writeTruth(workspace: string, orders: readonly Order[]): Promise<void> {
  const truth: Truth = { orders: orders.map((order) => [order.id, order.cents]) };
  await writeFile(join(workspace, "truth.json"), JSON.stringify(truth));
}

/** What stays when the temporary folder is gone: the record, the reports, the job summary. */
async function keep(workspace: string, drill: StepResult): Promise<void> {
  await rm(RESULT, { recursive: true, force: true });
  await mkdir(RESULT, { recursive: true });
  await cp(join(workspace, "drill-reports"), RESULT, { recursive: true }).catch(() => undefined);
  await writeFile(join(RESULT, "job-summary.md"), drill.summary);
}

/** Believes nothing that the drill says of itself: compares it with what the shop remembers. */
async function conclude(
  workspace: string,
  drill: StepResult,
  lost: readonly Order[],
  deleted: bigint,
): Promise<void> {
  const proof = JSON.parse(await readFile(join(workspace, "proof.json"), "utf8")) as Proof;
  const record = drillRecord.parse(
    JSON.parse(await readFile(join(workspace, relativeTo(workspace, drill.outputs["record-path"])), "utf8")),
  );
  const reached = record.recoveries[0]?.reached;
  const whole = proof.expected === lost.length && proof.found === lost.length && lost.length > 0;
  if (!whole || proof.missing + proof.altered + proof.unexpected > 0) {
    throw new Error(`Not all orders are back: ${JSON.stringify(proof)}`);
  }
  if (drill.outputs.verdict !== "passed") throw new Error(`The verdict is ${drill.outputs.verdict}.`);
  if (microsOf(reached?.firstCommitAfter) !== deleted) {
    throw new Error(
      `The first commit that is not recovered should be the deletion: ${reached?.firstCommitAfter}`,
    );
  }

  console.log("");
  for (const recovered of record.steps) {
    const phases = recovered.phases.map(({ name, seconds }) => `${name} ${seconds.toFixed(1)} s`).join(", ");
    console.log(
      `  ${recovered.title}: ${recovered.seconds.toFixed(1)} s${phases === "" ? "" : ` (${phases})`}`,
    );
  }
  const { rtoSeconds, rpoSeconds } = record.achieved;
  console.log(`  RTO ${rtoSeconds?.toFixed(1)} s: from the start of the recovery to the last check passed`);
  console.log(`  RPO ${rpoSeconds?.toFixed(6)} s: from the last recovered commit to the target`);
  console.log(`  last commit recovered       ${reached?.lastCommitBefore}`);
  console.log(`  first commit not recovered  ${reached?.firstCommitAfter} (the deletion)`);
  console.log("");
  say(`All ${proof.found} orders are back, to the cent, and not one that was placed later.`);
}

/** Microseconds since 1970 of a time in a drill record. */
function microsOf(time: string | null | undefined): bigint | undefined {
  if (time === null || time === undefined) return undefined;
  const fraction = /\.(\d{1,6})/.exec(time)?.[1] ?? "";
  const seconds = Date.parse(time.replace(/\.\d+/, "").replace(" ", "T").replace(/\+00$/, "Z")) / 1000;
  return BigInt(seconds) * 1_000_000n + BigInt(fraction.padEnd(6, "0"));
}

function must(result: StepResult): StepResult {
  if (result.exitCode !== 0) {
    throw new Error(`The action ended with ${result.exitCode ?? result.signal}:\n${result.visible}`);
  }
  if (result.leftovers.length > 0) throw new Error(`The action left ${result.leftovers.join(", ")} behind.`);
  return result;
}

function relativeTo(workspace: string, path = ""): string {
  return path.startsWith("/") ? relative(workspace, path) : path;
}

function say(line: string): void {
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`${seconds.padStart(5)} s  ${line}`);
}

/** A line of an action's log, set off from our own. */
function quote(line: string): void {
  if (!line.startsWith("::")) console.log(`         | ${line}`);
}

try {
  await main();
} catch (error) {
  console.error(`\nThe demo failed. ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
