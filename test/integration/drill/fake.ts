import { join } from "node:path";
import type { Component, ComponentSetting, Recovered, RecoveryRequest } from "../../../src/component.ts";
import type { ComponentConfig } from "../../../src/components.ts";
import type { Context } from "../../../src/context.ts";
import { type DrillOptions, type DrillOutcome, type DrillService, runDrill } from "../../../src/drill/run.ts";
import { openStore } from "../../../src/stores/open.ts";
import type { Store } from "../../../src/stores/store.ts";
import { parseTarget } from "../../../src/targets.ts";
import { type TestContext, testContext } from "../../support/context.ts";
import { runbookOf } from "../../unit/drill/runbook.ts";

export const DB = `
components:
  db:
    type: postgres
    store: local
    connection: \${DATABASE_URL}
    checks: [{ query: SELECT count(*) FROM orders, expect: ">= 1" }]
`;

/** What a component that keeps its data in memory does in a drill; each part can be changed by a test. */
export interface FakeParts {
  recover?: (request: RecoveryRequest, context: Context) => Promise<Partial<Recovered>> | Partial<Recovered>;
  backup?: Component<ComponentConfig>["backup"];
  /** Replaces the store of all components. */
  store?: (real: Store) => Store;
}

export interface FakeWorld extends AsyncDisposable {
  readonly context: TestContext;
  readonly reportDir: string;
  readonly store: Store;
  /** What was called, in order: `recover db`, `check db`, `dispose db`, `backup db`. */
  readonly calls: string[];
  readonly requests: RecoveryRequest[];
  drill(
    options?: Partial<Omit<DrillOptions, "target">> & { target?: string },
    yaml?: string,
  ): Promise<DrillOutcome>;
}

export async function fakeWorld(parts: FakeParts = {}, overrides: Partial<Context> = {}): Promise<FakeWorld> {
  const context = await testContext(overrides);
  const real = await openStore({ type: "file", path: join(context.workDir, "store") }, "local", context);
  const store = parts.store?.(real) ?? real;
  const reportDir = join(context.workDir, "drill-reports");
  const calls: string[] = [];
  const requests: RecoveryRequest[] = [];

  function componentOf(name: string): Pick<Component<ComponentConfig>, "backup" | "recover"> {
    return {
      backup: (setting, kind, ctx) => {
        calls.push(`backup ${name}`);
        return parts.backup?.(setting, kind, ctx) ?? Promise.reject(new Error("no backup in this test"));
      },
      async recover(_, request, ctx) {
        calls.push(`recover ${name}`);
        requests.push(request);
        const changes = (await parts.recover?.(request, ctx)) ?? {};
        return recoveredOf(name, calls, changes);
      },
    };
  }

  return {
    context,
    reportDir,
    store,
    calls,
    requests,
    drill({ target = "2026-01-25T14:30:00Z", ...options } = {}, yaml = DB) {
      const runbook = runbookOf(yaml);
      const service: DrillService = {
        load: async (name) => componentOf(name),
        setting: async (name) => settingOf(name, runbook.config.components[name], store),
      };
      return runDrill(
        {
          runbook,
          service,
          environment: "drill",
          target: parseTarget(target),
          targetText: target,
          backup: "existing",
          keep: false,
          operator: "octocat",
          run: { url: null, attempt: null, sha: null },
          runnerFacts: { runner: "test" },
          reportDir,
          redact: (text) => text.replaceAll("s3cret", "***"),
          ...options,
        },
        context,
      );
    },
    async [Symbol.asyncDispose]() {
      store.close();
      await context[Symbol.asyncDispose]();
    },
  };
}

function settingOf(
  name: string,
  config: ComponentConfig | undefined,
  store: Store,
): ComponentSetting<ComponentConfig> {
  if (config === undefined) throw new Error(`no component ${name}`);
  const encryption = { recipients: [], identity: () => undefined };
  return { service: "shop", name, config, store, encryption, fill: (_, value) => value };
}

function recoveredOf(name: string, calls: string[], changes: Partial<Recovered>): Recovered {
  const { check, dispose, ...rest } = changes;
  return {
    backupId: "20260125T120000Z-aabbcc",
    target: "2026-01-25 14:30:00.000000+00",
    reached: {
      lsn: "0/1A2B3C4D",
      time: "2026-01-25T14:30:00.000000Z",
      timeline: 2,
      lastCommitBefore: "2026-01-25T14:29:57.800000Z",
      firstCommitAfter: "2026-01-25T14:30:00.103456Z",
    },
    phases: [{ name: "fetch", seconds: 0.001, bytes: 10 }],
    access: { url: "postgresql://u:s3cret@127.0.0.1:5/shop", host: "127.0.0.1", port: "5" },
    facts: { postgres: "17.5" },
    ...rest,
    async check() {
      calls.push(`check ${name}`);
      if (check !== undefined) return check();
      return [
        {
          component: name,
          check: "SELECT count(*) FROM orders",
          status: "passed",
          expected: ">= 1",
          actual: "42",
        },
      ];
    },
    async dispose(options) {
      calls.push(options?.keep === true ? `keep ${name}` : `dispose ${name}`);
      await dispose?.(options);
    },
  };
}
