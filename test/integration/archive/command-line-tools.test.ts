import { execFileSync, spawn } from "node:child_process";
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, readFile, readlink, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { pack } from "../../../src/archive/pack.ts";
import { readTar } from "../../../src/archive/tar.ts";
import { unpack } from "../../../src/archive/unpack.ts";
import { DefectError } from "../../../src/errors.ts";
import { requireTool } from "../../support/tools.ts";

const TOOLS = ["age", "age-keygen", "zstd", "tar"] as const;
const missing = TOOLS.filter((name) => requireTool(name) === undefined);
const title =
  missing.length === 0
    ? "the command-line tools"
    : `the command-line tools (skipped: no ${missing.join(", ")} here)`;

const LONG_NAME = `${"a-folder-with-a-long-name/".repeat(8)}${"x".repeat(120)}`;

describe.skipIf(missing.length > 0)(title, () => {
  let folder: string;
  let identity: string;
  let recipient: string;
  let content: Record<string, Buffer>;

  beforeAll(async () => {
    const keygen = requireTool("age-keygen") ?? "";
    folder = await mkdtemp(join(tmpdir(), "drillbook-archive-"));
    execFileSync(keygen, ["-o", join(folder, "key.txt")], { stdio: "ignore" });
    identity = await readFile(join(folder, "key.txt"), "utf8");
    recipient = execFileSync(keygen, ["-y", join(folder, "key.txt")], { encoding: "utf8" }).trim();
    const data = join(folder, "data");
    // 11 MB: several frames; half of it cannot be compressed.
    const random = Buffer.alloc(5_500_000);
    for (let at = 0; at < random.length; at += 4)
      random.writeUInt32LE(Math.floor(Math.random() * 2 ** 32), at);
    content = {
      PG_VERSION: Buffer.from("17\n"),
      empty: Buffer.alloc(0),
      "base/1/1259": random,
      "base/1/16384": Buffer.alloc(5_500_000, "orders"),
      [LONG_NAME]: Buffer.from("long"),
    };
    for (const [path, bytes] of Object.entries(content)) {
      await mkdir(join(data, path, ".."), { recursive: true });
      await writeFile(join(data, path), bytes);
    }
    await mkdir(join(data, "pg_tblspc"));
    await symlink("/mnt/disk2/space", join(data, "pg_tblspc/16999"));
  });

  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  /** Runs a shell pipeline whose every part must succeed, in the test's folder. */
  function shell(script: string): Readable {
    const child = spawn("bash", ["-c", `set -eo pipefail; ${script}`], {
      cwd: folder,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let complaint = "";
    child.stderr.on("data", (text: Buffer) => {
      complaint += text.toString();
    });
    return Readable.from(
      (async function* () {
        const exit = new Promise<number | null>((resolve) => child.on("close", resolve));
        yield* child.stdout;
        const code = await exit;
        if (code !== 0) throw new Error(`${script} ended with ${code}: ${complaint}`);
      })(),
    );
  }

  async function store(name: string, recipients: string[]): Promise<void> {
    const packed = pack(shell("tar -C data -c ."), { recipients });
    await writeFile(join(folder, name), packed.stream);
  }

  async function expectData(where: string): Promise<void> {
    for (const [path, bytes] of Object.entries(content)) {
      expect((await readFile(join(where, path))).equals(bytes), path).toBe(true);
    }
    expect(await readlink(join(where, "pg_tblspc/16999"))).toBe("/mnt/disk2/space");
  }

  async function expectEntries(tar: AsyncIterable<Uint8Array>): Promise<void> {
    const files: Record<string, Buffer> = {};
    const links: Record<string, string | undefined> = {};
    for await (const entry of readTar(tar, "base.tar")) {
      const chunks = [];
      for await (const chunk of entry.body) chunks.push(chunk);
      if (entry.type === "file") files[entry.path] = Buffer.concat(chunks);
      if (entry.type === "symlink") links[entry.path] = entry.linkTarget;
    }
    expect(Object.keys(files).sort()).toEqual(Object.keys(content).sort());
    for (const [path, bytes] of Object.entries(content)) expect(files[path]?.equals(bytes), path).toBe(true);
    expect(links).toEqual({ "pg_tblspc/16999": "/mnt/disk2/space" });
  }

  function opened(name: string, sealed: boolean): AsyncIterable<Buffer> {
    return unpack(createReadStream(join(folder, name)), { subject: name, sealed, identity });
  }

  it("open a sealed archive: age -d | zstd -d | tar x", async () => {
    await store("ours.tar.zst.age", [recipient]);
    await mkdir(join(folder, "ours-sealed"));
    await shell("age -d -i key.txt ours.tar.zst.age | zstd -d | tar -x -C ours-sealed").toArray();
    await expectData(join(folder, "ours-sealed"));
  });

  it("open an archive that is not sealed: tar --zstd -x, and zstd -t finds no fault", async () => {
    await store("ours.tar.zst", []);
    await mkdir(join(folder, "ours-plain"));
    await shell("zstd -t ours.tar.zst && tar --zstd -x -f ours.tar.zst -C ours-plain").toArray();
    await expectData(join(folder, "ours-plain"));
    const listing = (await shell("zstd -lv ours.tar.zst").toArray()).join("");
    expect(listing).toMatch(/# Zstandard Frames: [3-9]/);
    expect(listing).toMatch(/Check: XXH64/);
    expect(listing).toMatch(/Decompressed Size: 1[01]\.\d MiB/);
  });

  it("open an empty archive", async () => {
    const packed = pack(Readable.from([]), { recipients: [recipient] });
    await writeFile(join(folder, "empty.zst.age"), packed.stream);
    expect(await shell("age -d -i key.txt empty.zst.age | zstd -d").toArray()).toEqual([]);
  });

  it("find our sealed archive damaged when one byte is changed", async () => {
    await store("changed.zst.age", [recipient]);
    const bytes = await readFile(join(folder, "changed.zst.age"));
    bytes[3_000_000] = (bytes[3_000_000] as number) ^ 1;
    await writeFile(join(folder, "changed.zst.age"), bytes);
    await expect(shell("age -d -i key.txt changed.zst.age | zstd -d").toArray()).rejects.toThrow(
      "ended with",
    );
  });

  it.each([
    ["GNU tar, zstd, age", "tar --format=gnu -C data -c . | zstd | age -r RECIPIENT"],
    [
      "pax tar, zstd at its highest level on all cores, age",
      "tar --format=pax -C data -c . | zstd -19 -T0 | age -r RECIPIENT",
    ],
    ["zstd with a long window", "tar -C data -c . | zstd --long=27 | age -r RECIPIENT"],
    ["zstd of a file, which knows its size", "tar -C data -c . > f.tar && zstd -c f.tar | age -r RECIPIENT"],
    [
      "several zstd files one after the other",
      "tar -C data -c . | split -b 3000000 - part- && zstd -q part-?? && cat part-*.zst | age -r RECIPIENT",
    ],
  ])("make an archive that is read: %s", async (_, script) => {
    await pipeline(shell(script.replace("RECIPIENT", recipient)), async (sealed) => {
      await writeFile(join(folder, "theirs.age"), sealed);
    });
    await expectEntries(opened("theirs.age", true));
  });

  it("make an archive that is read without age", async () => {
    await writeFile(join(folder, "theirs.zst"), shell("tar -C data -c . | zstd"));
    await expectEntries(opened("theirs.zst", false));
  });

  it("make an archive whose loss of the last bytes is noticed", async () => {
    await writeFile(join(folder, "cut.age"), shell(`tar -C data -c . | zstd | age -r ${recipient}`));
    await truncate(join(folder, "cut.age"), (await readFile(join(folder, "cut.age"))).length - 10);
    await expect(expectEntries(opened("cut.age", true))).rejects.toThrow(DefectError);
  });

  it("seal in ASCII, which is refused with a sentence", async () => {
    await writeFile(join(folder, "armored.age"), shell(`tar -C data -c empty | age -a -r ${recipient}`));
    await expect(expectEntries(opened("armored.age", true))).rejects.toThrow("is not sealed with age");
  });
});
