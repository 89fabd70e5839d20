import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { generateIdentity, identityToRecipient } from "age-encryption";
import { stringify } from "yaml";
import { variable } from "../../scripts/demo/runbook.ts";
import { type RunningStep, type StepOptions, type StepResult, startStep } from "../../scripts/lib/runner.ts";
import { type PostgresOptions, startPostgres, type TestPostgres } from "./postgres.ts";
import { survivorsOf } from "./runner.ts";

type Yaml = Readonly<Record<string, unknown>>;

export interface WorldOptions {
  readonly postgres?: PostgresOptions;
  /** The store of the runbook without its encryption; default: a folder of the workspace. */
  readonly store?: Yaml;
  /** More environment of every step, such as credentials of the store. */
  readonly env?: Readonly<Record<string, string>>;
  /** More texts that must never be shown. */
  readonly secrets?: readonly string[];
  /** More keys of the component `db`. */
  readonly component?: Yaml;
  /** Default: one that recovers `db`. */
  readonly scenarios?: Yaml;
}

export interface WorldResult extends StepResult {
  /** Processes that the step left running; should be none. */
  readonly survivors: readonly string[];
}

/** A checkout with a runbook, the server it is about, and a runner to start actions with. */
export interface World extends AsyncDisposable {
  readonly server: TestPostgres;
  readonly workspace: string;
  /** The folder of the default store. */
  readonly storeDir: string;
  readonly identity: string;
  /** What no log, output, summary or report may ever hold. */
  readonly secrets: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** The runbook as it was written, to write a changed one. */
  readonly runbook: Yaml;
  writeRunbook(runbook: Yaml | string): Promise<void>;
  run(
    action: string,
    inputs?: Readonly<Record<string, string>>,
    more?: Partial<StepOptions>,
  ): Promise<WorldResult>;
  start(
    action: string,
    inputs?: Readonly<Record<string, string>>,
    more?: Partial<StepOptions>,
  ): Promise<RunningStep>;
  /** A file of the workspace that an output names. */
  read(path: string | undefined): Promise<string>;
}

/** Starts a server, and writes a runbook for it with an encrypted store. */
export async function openWorld(options: WorldOptions = {}): Promise<World> {
  const server = await startPostgres(options.postgres);
  const workspace = await mkdtemp(join(tmpdir(), "drillbook-work-"));
  // A scratch server below it may belong to another user.
  await chmod(workspace, 0o755);
  const storeDir = join(workspace, "store");
  const identity = await generateIdentity();
  const recipient = await identityToRecipient(identity);
  const env = { DATABASE_URL: server.url, AGE_IDENTITY: identity, ...options.env };
  const runbook: Yaml = {
    version: 1,
    service: "shop",
    owner: "platform-team",
    objectives: {
      production: { rto: "4h", rpo: "1h", protected: true },
      drill: { rto: "10m", rpo: "1h" },
    },
    stores: {
      offsite: {
        ...(options.store ?? { type: "file", path: storeDir }),
        encryption: { recipients: [recipient], identity: variable("AGE_IDENTITY") },
      },
    },
    components: {
      db: {
        type: "postgres",
        store: "offsite",
        connection: variable("DATABASE_URL"),
        method: "physical",
        wal: { slot: "drillbook" },
        server: { runtime: "local", "bin-dir": server.binDir },
        checks: [{ query: "SELECT count(*) FROM orders", expect: ">= 1" }],
        ...options.component,
      },
    },
    scenarios: options.scenarios ?? {
      "db-lost": { title: "The database is gone", steps: [{ recover: "db" }] },
    },
  };

  const world: World = {
    server,
    workspace,
    storeDir,
    identity,
    secrets: [server.password, identity, ...(options.secrets ?? [])],
    env,
    runbook,
    async writeRunbook(changed) {
      await mkdir(join(workspace, ".github"), { recursive: true });
      const text = typeof changed === "string" ? changed : stringify(changed);
      await writeFile(join(workspace, ".github/runbook.yml"), text);
    },
    async run(action, inputs = {}, more = {}) {
      const step = await world.start(action, inputs, more);
      const result = await step.done;
      return { ...result, survivors: await survivorsOf(step) };
    },
    start: (action, inputs = {}, more = {}) =>
      startStep(action, { workspace, with: inputs, ...more, env: { ...env, ...more.env } }),
    read(path = "") {
      return readFile(path.startsWith("/") ? path : join(workspace, path), "utf8");
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await rm(workspace, { recursive: true, force: true, maxRetries: 5 });
    },
  };
  await world.writeRunbook(runbook);
  return world;
}

/** All files below a folder, as paths relative to it, in order; none when there is no such folder. */
export async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
}

/** Where a secret can be read: everything a step said, and every file it left in the workspace and the store. */
export async function leaksOf(world: World, results: readonly StepResult[]): Promise<string[]> {
  const texts = new Map<string, string>();
  results.forEach((result, index) => {
    texts.set(`log of step ${index + 1}`, result.visible);
    texts.set(`outputs of step ${index + 1}`, JSON.stringify(result.outputs));
    texts.set(`summary of step ${index + 1}`, result.summary);
  });
  for (const file of await filesBelow(world.workspace)) {
    texts.set(file, await readFile(join(world.workspace, file), "latin1"));
  }
  return [...texts]
    .filter(([, text]) => world.secrets.some((secret) => text.includes(secret)))
    .map(([place]) => place);
}
