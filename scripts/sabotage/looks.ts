import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Component, ComponentSetting } from "../../src/component.ts";
import type { ComponentConfig } from "../../src/components.ts";
import type { Context } from "../../src/context.ts";
import { runDrill } from "../../src/drill/run.ts";
import type { DrillRecord } from "../../src/record.ts";
import type { Runbook } from "../../src/runbook/load.ts";
import { recoveredBy } from "../../src/runbook/scenario.ts";
import type { Store } from "../../src/stores/store.ts";
import { parseTarget } from "../../src/targets.ts";
import { overdueDrills } from "../../src/verify/drills.ts";
import type { Circumstances, Look } from "./breakage.ts";

/** A component of a runbook, and how to look at it. */
export interface Subject {
  readonly runbook: Runbook;
  readonly setting: ComponentSetting<ComponentConfig>;
  readonly component: Component<ComponentConfig>;
  /** Of the runbook's objectives, for drills. */
  readonly environment: string;
  readonly context: Context;
}

/** Something red. */
export interface Caught {
  readonly code: string;
  readonly severity: "error" | "warning";
  readonly message: string;
}

/** Looks at a component as if its store were that one; what was found to be wrong. */
export async function lookAt(
  look: Look,
  subject: Subject,
  store: Store,
  around: Circumstances = {},
): Promise<Caught[]> {
  const changed = changedBy(subject, store, around);
  return look === "drill" ? await drilled(changed) : await verified(look, changed);
}

function changedBy(subject: Subject, store: Store, around: Circumstances): Subject {
  const { setting, context, runbook } = subject;
  const laterMs = (around.laterSeconds ?? 0) * 1000;
  const { identity } = around;
  const config = { ...setting.config, ...around.config };
  const components = { ...runbook.config.components, [setting.name]: config };
  return {
    ...subject,
    runbook: { ...runbook, config: { ...runbook.config, components } },
    setting: {
      ...setting,
      store,
      config,
      encryption: {
        recipients: setting.encryption.recipients,
        identity: () => identity ?? setting.encryption.identity(),
      },
    },
    context: { ...context, now: () => new Date(context.now().getTime() + laterMs) },
  };
}

async function verified(
  depth: "inventory" | "checksums",
  { runbook, setting, component, context }: Subject,
): Promise<Caught[]> {
  const now = context.now();
  const request = { depth, now, rpoSeconds: null, share: undefined };
  const { findings, window } = await component.verify(setting, request, context);
  const oldest = window === null ? undefined : new Date(window.from);
  const overdue = await overdueDrills(
    ofComponent(runbook, setting.name),
    [setting.store],
    oldest,
    now,
    context.signal,
  );
  return [...findings, ...overdue].map(({ code, severity, message }) => ({ code, severity, message }));
}

/** Scenarios that do not recover the component are not what is broken. */
function ofComponent({ config }: Runbook, name: string): Runbook["config"] {
  const scenarios = Object.entries(config.scenarios).filter(([, one]) =>
    recoveredBy(one, "drill").includes(name),
  );
  return { ...config, scenarios: Object.fromEntries(scenarios) };
}

async function drilled({ runbook, setting, component, environment, context }: Subject): Promise<Caught[]> {
  const reportDir = await mkdtemp(join(context.workDir, "drill-"));
  try {
    const { record } = await runDrill(
      {
        runbook,
        service: { load: async () => component, setting: async () => setting },
        components: [setting.name],
        environment,
        target: parseTarget("latest"),
        targetText: "latest",
        backup: "existing",
        keep: false,
        operator: "sabotage",
        run: { url: null, attempt: null, sha: null },
        runnerFacts: {},
        reportDir,
        redact: (text) => text,
      },
      context,
    );
    return drillCodes(record);
  } finally {
    await rm(reportDir, { recursive: true, force: true });
  }
}

/**
 * What is red in a drill record: `recovery failed`, `<check> failed`, or the same with `unverified`; `drill <verdict>`
 * for anything else that keeps it from being passed, such as an objective. Nothing for a drill that passed.
 */
function drillCodes(record: DrillRecord): Caught[] {
  if (record.verdict === "passed") return [];
  const caught: Caught[] = [];
  const severity = "error";
  for (const step of record.steps) {
    if (step.kind === "recover" && (step.status === "failed" || step.status === "unverified")) {
      caught.push({ severity, code: `recovery ${step.status}`, message: step.message ?? "" });
    }
  }
  for (const { check, status, actual } of record.checks) {
    if (status !== "passed") caught.push({ severity, code: `${codeOf(check)} ${status}`, message: actual });
  }
  if (caught.length > 0) return caught;
  return record.reasons.map((message) => ({ severity, code: `drill ${record.verdict}`, message }));
}

/** A check's own words, but of those that count rows without the table. */
function codeOf(check: string): string {
  return check.startsWith("rows: ") ? "rows" : check;
}
