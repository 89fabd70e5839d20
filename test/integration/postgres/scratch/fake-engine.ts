import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface FakeEngine extends Disposable {
  /** For the code under test: a PATH with nothing but the engines. */
  readonly env: Readonly<Record<string, string>>;
  /** The requests so far: `docker info`, `podman create …`. */
  requests(): string[];
}

export interface FakeOptions {
  /** Programs of that name in PATH; the value is what `info` complains of, or empty when it answers. */
  readonly engines: Readonly<Record<string, string>>;
  /** What each of them says it is. */
  readonly version?: string;
  /** What `postgres --version` says inside. */
  readonly postgres?: string;
  readonly hasImage?: boolean;
  /** What `create` complains of. */
  readonly refusal?: string;
  /** Containers end at once and nothing they would write arrives. */
  readonly elsewhere?: boolean;
}

/** "Containers" are processes of this machine: enough to try the choice and the conversation with an engine. */
const SCRIPT = `
const { appendFileSync, readFileSync, rmSync, writeFileSync } = require("node:fs");
const { spawn } = require("node:child_process");
const { basename, dirname } = require("node:path");
const name = basename(__filename);
const folder = dirname(dirname(__filename));
const options = JSON.parse(readFileSync(folder + "/options.json", "utf8"));
const [command, ...args] = process.argv.slice(2);
appendFileSync(folder + "/requests", JSON.stringify([name, command, ...args].join(" ")) + "\\n");
const fail = (words) => { console.error(words); process.exit(1); };
const file = (container) => folder + "/" + container;
if (command === "--version") console.log(options.version ?? "Docker version 28.2.2, build e6534b4");
if (command === "info" && options.engines[name]) fail(options.engines[name]);
if (command === "image" && !options.hasImage) fail("Error: No such image");
if (command === "pull") fail("Using default tag: latest\\nError response from daemon: pull access denied for " + args[0] + ".");
if (command === "create") {
  if (options.refusal) fail("Error response from daemon: " + options.refusal + ".\\nSee 'docker create --help'.");
  const flags = args.filter((arg) => /^--\\w/.test(arg));
  const value = (flag) => flags.find((arg) => arg.startsWith(flag + "="))?.slice(flag.length + 1);
  const spec = { program: value("--entrypoint"), args: args.slice(flags.length + 1) };
  writeFileSync(file(value("--name")), JSON.stringify(spec));
}
if (command === "start" && !options.elsewhere) {
  const container = args.at(-1);
  const { program, args: rest } = JSON.parse(readFileSync(file(container), "utf8"));
  const child = spawn(program, rest, { stdio: "inherit", env: { PATH: folder + "/inside:/usr/bin:/bin" } });
  writeFileSync(file(container) + ".pid", String(child.pid));
  child.on("exit", (code, signal) => process.exit(signal ? 137 : code));
}
if (command === "kill" || command === "rm") {
  try { process.kill(Number(readFileSync(file(args.at(-1)) + ".pid", "utf8")), "SIGKILL"); } catch {}
  if (command === "rm") { rmSync(file(args.at(-1)), { force: true }); console.log(args.at(-1)); }
}
`;

export function fakeEngine(options: FakeOptions): FakeEngine {
  const folder = mkdtempSync(join(tmpdir(), "drillbook-test-engine-"));
  chmodSync(folder, 0o755);
  writeFileSync(join(folder, "options.json"), JSON.stringify(options));
  writeFileSync(join(folder, "requests"), "");
  const bin = join(folder, "bin");
  for (const sub of ["bin", "inside"]) mkdirSync(join(folder, sub));
  for (const name of Object.keys(options.engines)) {
    writeFileSync(join(bin, name), `#!${process.execPath}\n${SCRIPT}`, { mode: 0o755 });
  }
  if (options.postgres !== undefined) {
    const script = `#!/bin/sh\n[ "$1" != --version ] || { echo "${options.postgres}"; exit; }\nexec sleep 60\n`;
    writeFileSync(join(folder, "inside/postgres"), script, { mode: 0o755 });
  }
  return {
    env: { PATH: bin, JOB_SECRET: "never-told" },
    requests: () =>
      readFileSync(join(folder, "requests"), "utf8")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => String(JSON.parse(line))),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}
