import { randomBytes } from "node:crypto";
import { backupId } from "../catalog/layout.ts";
import { recordVerification } from "../catalog/verifications.ts";
import type { Verification, VerifyDepth, VerifyRequest } from "../component.ts";
import type { Context } from "../context.ts";
import { AbortedError, messageOf, UserError } from "../errors.ts";
import type { Finding } from "../finding.ts";
import { chooseComponents } from "../runbook/choose.ts";
import { loadRunbook, type Runbook } from "../runbook/load.ts";
import type { RunbookConfig } from "../runbook/schema.ts";
import { openService, type Service } from "../service.ts";
import type { Store } from "../stores/store.ts";
import { parseDuration } from "../values.ts";
import { overdueDrills } from "./drills.ts";
import { type VerifiedComponent, type VerifyRecord, verifyRecord } from "./record.ts";

export interface VerifyRunRequest {
  /** Path of the runbook. */
  readonly runbook: string;
  /** Names of components; none means all. */
  readonly components: readonly string[];
  readonly depth: VerifyDepth;
  /** With `checksums`: every byte is read within so long (`7d`), a share of the objects each day; empty: all of them now. */
  readonly coverWithin: string;
  /** Takes secrets out of a text. */
  redact(text: string): string;
}

export interface VerifyRun {
  readonly record: VerifyRecord;
  readonly runbook: Runbook;
  /** Why the verdict is not `passed`, one sentence each. */
  readonly reasons: readonly string[];
}

const DAY_SECONDS = 86_400;

/**
 * Verifies components one after another. What is wrong is a finding, so one component's trouble does not hide another's.
 * Throws a UserError when the runbook or an input is wrong, before anything is read, and an AbortedError when stopped.
 */
export async function runVerify(request: VerifyRunRequest, context: Context): Promise<VerifyRun> {
  const startedAt = context.now();
  const runbook = loadRunbook(request.runbook);
  const { config } = runbook;
  const names = chooseComponents(Object.keys(config.components), request.components);
  const share = shareOf(request, startedAt);
  const service = openService(runbook, context);
  const findings: Finding[] = [];
  const components: VerifiedComponent[] = [];
  try {
    for (const name of names) {
      const rpoSeconds = strictestRpo(config, config.components[name]?.objectives.rpo);
      const wanted = { depth: request.depth, now: context.now(), rpoSeconds, share };
      const { component, found } = await verifyOne(service, name, wanted, context);
      components.push(component);
      findings.push(...found);
    }
    findings.push(...(await lookAtDrills(service, names, components, context)));
  } finally {
    await service.close();
  }
  const losses = components.map((one) => one.rpoSeconds);
  const draft: VerifyRecord = {
    schema: "drillbook/verify-record/v1",
    id: backupId(startedAt, randomBytes(3)),
    service: config.service,
    depth: request.depth,
    verdict: verdictOf(findings),
    startedAt: startedAt.toISOString(),
    finishedAt: context.now().toISOString(),
    rpoSeconds: losses.includes(null) ? null : Math.max(...losses.map((seconds) => seconds ?? 0)),
    findings,
    components,
  };
  const record = verifyRecord.parse(JSON.parse(request.redact(JSON.stringify(draft))));
  const reasons = record.findings
    .filter((finding) => finding.severity === "error")
    .map(({ code, message }) => `${code}: ${message}`);
  return { record, runbook, reasons };
}

/** A different share each day of the period, by the day of the epoch: it needs no memory of earlier runs. */
function shareOf({ depth, coverWithin }: VerifyRunRequest, now: Date): VerifyRequest["share"] {
  if (coverWithin === "") return undefined;
  const seconds = parseDuration(coverWithin);
  if (seconds === undefined || seconds < DAY_SECONDS) {
    throw new UserError(
      `The input cover-within is "${coverWithin}": use a whole number of days, such as 7d.`,
    );
  }
  if (depth !== "checksums") {
    throw new UserError(`The input cover-within is for depth: checksums; with depth: ${depth} leave it out.`);
  }
  const of = Math.floor(seconds / DAY_SECONDS);
  return of === 1 ? undefined : { part: Math.floor(now.getTime() / 1000 / DAY_SECONDS) % of, of };
}

/** The component's own RPO, and that of every environment but `drill`, which is there to be missed by less. */
function strictestRpo({ objectives }: RunbookConfig, own: number | undefined): number | null {
  const names = Object.keys(objectives);
  const real = names.some((name) => name !== "drill") ? names.filter((name) => name !== "drill") : names;
  const all = [own, ...real.map((name) => objectives[name]?.rpo)].filter((seconds) => seconds !== undefined);
  return all.length === 0 ? null : Math.min(...all);
}

async function verifyOne(
  service: Service,
  name: string,
  request: VerifyRequest,
  context: Context,
): Promise<{ component: VerifiedComponent; found: readonly Finding[] }> {
  const began = performance.now();
  let result: Verification;
  try {
    const component = await service.load(name);
    const setting = await service.setting(name);
    result = await component.verify(setting, request, context);
    await noteVerified(setting.store, name, result, request, context);
  } catch (error) {
    if (context.signal.aborted || error instanceof AbortedError) throw error;
    result = notVerified(name, error);
  }
  const { findings, ...rest } = result;
  const seconds = (performance.now() - began) / 1000;
  context.log.info(`${name}: ${findings.length} finding${findings.length === 1 ? "" : "s"}`);
  const component = {
    component: name,
    ...rest,
    verified: [...rest.verified],
    unchecked: [...rest.unchecked],
    seconds,
  };
  return { component, found: findings };
}

/** Retention deletes an old backup only when a newer one was verified: this is what it looks for. */
async function noteVerified(
  store: Store,
  name: string,
  { verified }: Verification,
  { depth }: VerifyRequest,
  context: Context,
): Promise<void> {
  if (depth === "inventory") return;
  const at = context.now().toISOString();
  try {
    for (const backup of verified) {
      await recordVerification(store, name, { backupId: backup, depth, at }, context.signal);
    }
  } catch (error) {
    if (context.signal.aborted) throw error;
    context.log.warning(
      `That backups of ${name} are verified could not be noted in the store, so retention does not know it: ${messageOf(error)}`,
    );
  }
}

function notVerified(name: string, error: unknown): Verification {
  const message = `${name} could not be verified: ${messageOf(error)}`;
  const remedy = "Mend what the message says, and verify again.";
  const none = { objects: 0, bytes: 0 };
  return {
    findings: [{ code: "not-verified", severity: "error", component: name, subject: name, message, remedy }],
    ...{ window: null, rpoSeconds: null, backups: 0, newestBackup: null, heartbeat: null },
    ...{ held: none, read: none, verified: [], unchecked: [] },
  };
}

async function lookAtDrills(
  service: Service,
  names: readonly string[],
  components: readonly VerifiedComponent[],
  context: Context,
): Promise<Finding[]> {
  const { config } = service.runbook;
  const starts = components.flatMap(({ window }) => (window === null ? [] : Date.parse(window.from)));
  const oldest = starts.length === 0 ? undefined : new Date(Math.min(...starts));
  try {
    const wanted = new Set(names.map((name) => config.components[name]?.store ?? ""));
    const stores = await Promise.all([...wanted].map((store) => service.store(store)));
    return await overdueDrills(config, stores, oldest, context.now(), context.signal);
  } catch (error) {
    if (context.signal.aborted || error instanceof AbortedError) throw error;
    const message = `The records of drills could not be read: ${messageOf(error)}`;
    const remedy = "Look at the store and the network, and verify again.";
    return [{ code: "not-verified", severity: "error", component: "", subject: "drills", message, remedy }];
  }
}

/** What was seen to be wrong counts more than what was not seen. */
function verdictOf(findings: readonly Finding[]): VerifyRecord["verdict"] {
  const errors = findings.filter((finding) => finding.severity === "error");
  if (errors.some((finding) => finding.code !== "not-verified")) return "failed";
  return errors.length > 0 ? "unverified" : "passed";
}
