/**
 * Builds the bundles: tsc emits JavaScript, ncc makes one folder per action below `dist/`.
 * With `--check` it builds into a temporary folder and fails when `dist/` differs by a byte or a file.
 */
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = join(import.meta.dirname, "..");

async function buildInto(target: string): Promise<void> {
  const emitted = join(root, "build");
  await rm(emitted, { recursive: true, force: true });
  await node("typescript/bin/tsc", ["-p", "tsconfig.build.json"]);
  const actions = await readdir(join(emitted, "actions"));
  await rm(target, { recursive: true, force: true });
  // Two at a time: each ncc keeps a core busy for about ten seconds.
  const queue = [...actions];
  await Promise.all(
    [0, 1].map(async () => {
      for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
        await bundle(join(emitted, "actions", name, "main.js"), join(target, name));
      }
    }),
  );
}

async function bundle(entry: string, target: string): Promise<void> {
  await mkdir(target, { recursive: true });
  const options = ["--minify", "--no-cache", "--quiet", "--target", "es2022", "--license", "licenses.txt"];
  await node("@vercel/ncc/dist/ncc/cli.js", ["build", entry, "--out", target, ...options]);
}

async function node(script: string, args: readonly string[]): Promise<void> {
  try {
    await run(process.execPath, [join(root, "node_modules", script), ...args], {
      cwd: root,
      maxBuffer: 64 * 2 ** 20,
    });
  } catch (error) {
    const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
    process.stderr.write(`${stdout}${stderr}\n`);
    throw error;
  }
}

async function filesBelow(folder: string): Promise<Map<string, Buffer>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = new Map<string, Buffer>();
  for (const entry of entries.filter((one) => one.isFile())) {
    const path = join(entry.parentPath, entry.name);
    files.set(relative(folder, path), await readFile(path));
  }
  return files;
}

async function check(): Promise<void> {
  const fresh = await mkdtemp(join(tmpdir(), "drillbook-build-"));
  try {
    await buildInto(join(fresh, "dist"));
    const built = await filesBelow(join(fresh, "dist"));
    const committed = await filesBelow(join(root, "dist"));
    const names = [...new Set([...built.keys(), ...committed.keys()])].sort();
    const stale = names.filter((name) => !built.get(name)?.equals(committed.get(name) ?? Buffer.alloc(0)));
    if (stale.length > 0) {
      throw new Error(
        `dist/ is not what the sources build; run npm run build. Different: ${stale.join(", ")}`,
      );
    }
    console.log(`dist/ is what the sources build: ${names.length} files, byte for byte.`);
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

if (process.argv.includes("--check")) {
  await check();
} else {
  const staging = await mkdtemp(join(tmpdir(), "drillbook-build-"));
  await buildInto(join(staging, "dist"));
  await rm(join(root, "dist"), { recursive: true, force: true });
  await cp(join(staging, "dist"), join(root, "dist"), { recursive: true });
  await rm(staging, { recursive: true, force: true });
}
