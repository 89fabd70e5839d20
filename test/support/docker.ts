import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { binDirOf } from "./postgres.ts";
import { requireTool } from "./tools.ts";

/** A container engine for tests, with images made of the programs that npm and this machine have. */
export interface TestDocker extends AsyncDisposable {
  /** For whoever shall find this engine. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What the client answers on its standard output. */
  run(...args: string[]): string;
  /** An image with the server programs of a major version, in the folders of the official one. */
  imageOf(major: number): Promise<string>;
  /** An image with a shell and nothing else. */
  shellImage(): string;
  /** Containers of this engine's images, in whatever state. */
  containers(): string[];
}

/** What the script behind `restore_command` needs. */
const PROGRAMS = ["/bin/sh", "/bin/mv", "/bin/rm", "/bin/sleep", "/bin/cat"];

/**
 * Why this machine cannot run containers for a test; undefined when it can. A tool that is missing is an error in CI;
 * without root no engine can be started, so that there is nothing to test.
 */
export function whyNoDocker(): string | undefined {
  if (process.platform !== "linux") return "not Linux";
  if (requireTool("docker") === undefined) return "no docker";
  if (answers(process.env)) return undefined;
  if (process.getuid?.() !== 0) return "not root, and no docker engine answers";
  return requireTool("dockerd") === undefined ? "no dockerd" : undefined;
}

/** The engine of this machine when it answers, else one of our own. */
export async function openDocker(): Promise<TestDocker> {
  const folder = mkdtempSync(join(tmpdir(), "drillbook-docker-"));
  const own = answers(process.env) ? undefined : await startEngine(folder);
  const env = { ...process.env, ...(own === undefined ? {} : { DOCKER_HOST: own.host }) };
  const images: string[] = [];
  const run = (...args: string[]) =>
    execFileSync("docker", args, { env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();

  function importImage(name: string, native: string | undefined, major: number): string {
    const root = join(folder, name);
    for (const program of PROGRAMS) copyProgram(program, root);
    const place = `/usr/lib/postgresql/${major}`;
    if (native !== undefined) {
      cpSync(native, join(root, place), { recursive: true, verbatimSymlinks: true });
      copyLibraries(join(native, "bin/postgres"), root);
    }
    const image = `drillbook-test-${process.pid}-${name}`;
    const script = 'tar --owner=0 --group=0 --mode=a+rX -C "$1" -c . | docker import --change "$3" - "$2"';
    const path = `ENV PATH=/bin:${place}/bin`;
    execFileSync("sh", ["-c", script, "sh", root, image, path], { env, stdio: ["ignore", "ignore", "pipe"] });
    rmSync(root, { recursive: true });
    images.push(image);
    return image;
  }

  function containers(): string[] {
    return run("ps", "--all", "--filter=label=drillbook", "--format={{.ID}} {{.Image}}")
      .split("\n")
      .filter((line) => images.some((image) => line.includes(image)))
      .map((line) => line.split(" ")[0] ?? "");
  }

  return {
    env,
    run,
    imageOf: async (major) => importImage(`pg${major}`, dirname(await binDirOf(major)), major),
    shellImage: () => importImage("shell", undefined, 0),
    containers,
    async [Symbol.asyncDispose]() {
      const left = containers();
      if (left.length > 0) run("rm", "--force", "--volumes", ...left);
      if (images.length > 0) run("image", "rm", "--force", ...images);
      await own?.stop();
      rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    },
  };
}

function answers(env: NodeJS.ProcessEnv): boolean {
  try {
    execFileSync("docker", ["info"], { env, stdio: "ignore", timeout: 10_000 });
    return true;
  } catch {
    return false;
  }
}

/** An engine with folders of its own, which needs no network and changes none. A machine without systemd may lack cgroups. */
async function startEngine(folder: string): Promise<{ host: string; stop(): Promise<void> }> {
  if (readdirSync("/sys/fs/cgroup").length === 0) execFileSync("cgroupfs-mount", { stdio: "ignore" });
  const host = `unix://${folder}/docker.sock`;
  const daemon: ChildProcess = spawn(
    "dockerd",
    [
      ...[`--data-root=${folder}/data`, `--exec-root=${folder}/exec`, `--pidfile=${folder}/pid`],
      ...[`--host=${host}`, "--iptables=false", "--ip6tables=false", "--bridge=none"],
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  let log = "";
  daemon.stderr?.on("data", (chunk) => {
    log = (log + String(chunk)).slice(-4_000);
  });
  const ended = once(daemon, "close");
  for (let tries = 0; tries < 300; tries += 1) {
    if (daemon.exitCode !== null) break;
    if (answers({ ...process.env, DOCKER_HOST: host })) {
      return {
        host,
        async stop() {
          daemon.kill("SIGTERM");
          await ended;
          // It leaves the network namespace of its containers mounted.
          for (const [, mounted = ""] of readFileSync("/proc/mounts", "utf8").matchAll(/^\S+ (\S+)/gm)) {
            if (mounted.startsWith(`${folder}/`)) execFileSync("umount", ["--lazy", mounted]);
          }
        },
      };
    }
    await sleep(100);
  }
  daemon.kill("SIGKILL");
  throw new Error(`dockerd does not answer:\n${log}`);
}

/** The program at its path, and the libraries that it is linked with at theirs. */
function copyProgram(program: string, root: string): void {
  copyInto(program, root);
  copyLibraries(program, root);
}

function copyLibraries(program: string, root: string): void {
  const output = execFileSync("ldd", [program], { encoding: "utf8" });
  for (const [, library = ""] of output.matchAll(/(\/\S+) \(0x/g)) {
    // PostgreSQL's own are found beside it.
    if (library.startsWith("/lib") || library.startsWith("/usr/lib")) copyInto(library, root);
  }
}

function copyInto(path: string, root: string): void {
  mkdirSync(join(root, dirname(path)), { recursive: true });
  cpSync(realpathSync(path), join(root, path));
}
