import { pack as createPack, type Header } from "tar-stream";
import { describe, expect, it } from "vitest";
import { DamagedArchive } from "../../../src/archive/damage.ts";
import { readTar, safePath, type TarEntry } from "../../../src/archive/tar.ts";
import { collect, inChunks, mixedBytes, once, rejection, seeded } from "./helpers.ts";

const MTIME = new Date("2026-01-25T12:00:00Z");

type Item = Partial<Header> & { readonly name: string; readonly content?: string | Buffer };

async function tarOf(...items: Item[]): Promise<Buffer> {
  const pack = createPack();
  for (const { content, ...header } of items) pack.entry({ mtime: MTIME, ...header }, content ?? "");
  pack.finalize();
  return collect(pack as AsyncIterable<Uint8Array>);
}

async function readAll(
  tar: AsyncIterable<Uint8Array>,
): Promise<(Omit<TarEntry, "body"> & { content: Buffer })[]> {
  const entries = [];
  for await (const { body, ...entry } of readTar(tar, "base.tar")) {
    entries.push({ ...entry, content: await collect(body) });
  }
  return entries;
}

async function defect(tar: Buffer): Promise<DamagedArchive> {
  const error = await rejection(readAll(once(tar)));
  expect(error).toBeInstanceOf(DamagedArchive);
  expect(error.message).toMatch(/^base\.tar /);
  return error as DamagedArchive;
}

/** Writes the header's checksum anew, so that only what the test changed is wrong. */
function resum(tar: Buffer, at = 0): Buffer {
  tar.write("        ", at + 148);
  const sum = tar.subarray(at, at + 512).reduce((total, byte) => total + byte, 0);
  tar.write(`${sum.toString(8).padStart(6, "0")}\0 `, at + 148);
  return tar;
}

describe("readTar", () => {
  it("gives every entry with its content, in order and in chunks of any size", async () => {
    const random = seeded(1);
    const page = mixedBytes(8192, random);
    const long = mixedBytes(200_001, random);
    const tar = await tarOf(
      { name: "./base/1/", type: "directory", mode: 0o700 },
      { name: "base/1/1259", content: page, mode: 0o600 },
      { name: "base/1/empty" },
      { name: "base/1/16384", content: long, mode: 0o640 },
      { name: "pg_tblspc/16999", type: "symlink", linkname: "/mnt/disk2/space" },
      { name: "copy", type: "link", linkname: "./base/1/1259" },
    );
    for (const largest of [1, 100, 5000, 300_000]) {
      const entries = await readAll(inChunks(tar, random, largest));
      expect(entries.map(({ content, ...entry }) => entry)).toEqual([
        { path: "base/1", type: "directory", size: 0, mode: 0o700, mtime: MTIME },
        { path: "base/1/1259", type: "file", size: 8192, mode: 0o600, mtime: MTIME },
        { path: "base/1/empty", type: "file", size: 0, mode: 0o644, mtime: MTIME },
        { path: "base/1/16384", type: "file", size: 200_001, mode: 0o640, mtime: MTIME },
        {
          path: "pg_tblspc/16999",
          type: "symlink",
          size: 0,
          mode: 0o644,
          mtime: MTIME,
          linkTarget: "/mnt/disk2/space",
        },
        { path: "copy", type: "hardlink", size: 0, mode: 0o644, mtime: MTIME, linkTarget: "base/1/1259" },
      ]);
      expect(entries[1]?.content.equals(page)).toBe(true);
      expect(entries[3]?.content.equals(long)).toBe(true);
    }
  });

  it("reads an archive without entries", async () => {
    expect(await readAll(once(Buffer.alloc(1024)))).toEqual([]);
  });

  it("reads names longer than a header has room for, and not in ASCII", async () => {
    const name = `${"täglich/".repeat(40)}orders`;
    const entries = await readAll(once(await tarOf({ name, content: "x" })));
    expect(entries.map((entry) => entry.path)).toEqual([name]);
  });

  it("skips what of a body was not read", async () => {
    const content = mixedBytes(100_000, seeded(2));
    const tar = await tarOf({ name: "a", content }, { name: "b", content }, { name: "c", content });
    const paths = [];
    let last: Buffer = Buffer.alloc(0);
    for await (const entry of readTar(inChunks(tar, seeded(3), 3000), "base.tar")) {
      paths.push(entry.path);
      if (entry.path === "b") for await (const _ of entry.body) break;
      if (entry.path === "c") last = await collect(entry.body);
    }
    expect(paths).toEqual(["a", "b", "c"]);
    expect(last.equals(content)).toBe(true);
  });

  it("closes its source when the reader leaves early, also in the middle of a body", async () => {
    const tar = await tarOf({ name: "a", content: Buffer.alloc(100_000) }, { name: "b", content: "x" });
    for (const inBody of [true, false]) {
      const log: string[] = [];
      async function* source(): AsyncGenerator<Buffer, void, void> {
        try {
          for (let at = 0; at < tar.length; at += 1000) yield tar.subarray(at, at + 1000);
        } finally {
          log.push("closed");
        }
      }
      for await (const entry of readTar(source(), "base.tar")) {
        if (inBody) for await (const _ of entry.body) break;
        break;
      }
      expect(log).toEqual(["closed"]);
    }
  });

  it("passes on what the source throws, between entries and in a body", async () => {
    const tar = await tarOf({ name: "a", content: Buffer.alloc(10_000) }, { name: "b", content: "x" });
    for (const length of [0, 100, 512, 5000, 10_752, 11_000, tar.length]) {
      const failure = new Error("connection reset");
      async function* source(): AsyncGenerator<Buffer, void, void> {
        yield tar.subarray(0, length);
        throw failure;
      }
      expect(await rejection(readAll(source()))).toBe(failure);
    }
  });

  it("reads no further ahead than what is taken", async () => {
    const tar = await tarOf({ name: "a", content: Buffer.alloc(2 ** 20) });
    let given = 0;
    async function* source(): AsyncGenerator<Buffer, void, void> {
      for (let at = 0; at < tar.length; at += 4096) {
        given += 4096;
        yield tar.subarray(at, at + 4096);
      }
    }
    for await (const entry of readTar(source(), "base.tar")) {
      for await (const _ of entry.body) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(given).toBeLessThan(200_000);
      break;
    }
  });
});

describe("a damaged tar", async () => {
  const tar = await tarOf(
    { name: "a", content: Buffer.alloc(1000, "a") },
    { name: `${"long/".repeat(60)}name`, content: Buffer.alloc(2000) },
    { name: "z", type: "directory" },
  );

  it("is noticed when cut off anywhere, between two entries too", async () => {
    expect(await readAll(once(tar))).toHaveLength(3);
    for (let length = 0; length < tar.length; length += 64) {
      expect((await defect(tar.subarray(0, length))).kind).toBe("truncated");
    }
    expect((await defect(tar.subarray(0, tar.length - 1))).kind).toBe("truncated");
  });

  it("is noticed in every byte of a header", async () => {
    for (let at = 0; at < 500; at += 1) {
      const changed = Buffer.from(tar);
      changed[at] = (changed[at] as number) ^ 1;
      // The sum of a header is written in octal digits between spaces: one of these may be another white space.
      if (at >= 154 && at < 156) continue;
      expect((await defect(changed)).kind).toBe("altered");
    }
  });

  it("is noticed when it is no tar at all", async () => {
    expect((await defect(mixedBytes(4096, seeded(4)))).kind).toBe("altered");
  });

  it("is noticed when an entry is longer than the archive", async () => {
    const changed = Buffer.from(tar);
    changed.write("77777777777\0", 124);
    expect((await defect(resum(changed))).kind).toBe("truncated");
  });

  it("is noticed when an entry's size is negative", async () => {
    const changed = Buffer.from(tar);
    changed.fill(0xff, 124, 136);
    expect((await defect(resum(changed))).kind).toBe("altered");
  });

  it("is noticed when a directory has content", async () => {
    const changed = await tarOf({ name: "d", content: "content" });
    changed.write("5", 156);
    expect((await defect(resum(changed))).kind).toBe("altered");
  });
});

describe("an entry that must not be restored", () => {
  it.each(["/etc/passwd", "../outside", "base/../../outside", ".."])(
    "is refused by its path: %s",
    async (name) => {
      const error = await defect(await tarOf({ name, content: "x" }));
      expect(error.message).toContain(JSON.stringify(name));
    },
  );

  it("is refused when a hardlink leads out of the archive", async () => {
    await defect(await tarOf({ name: "a", type: "link", linkname: "../../etc/passwd" }));
  });

  it.each(["fifo", "character-device", "block-device"] as const)(
    "is refused by its kind: %s",
    async (type) => {
      const error = await defect(await tarOf({ name: "a", type }));
      expect(error.message).toContain("holds a, which is neither");
    },
  );

  it("is refused when it is a file with holes in GNU's form, which would come out wrong", async () => {
    const pax = { "GNU.sparse.major": "1", "GNU.sparse.realsize": "100" };
    await defect(await tarOf({ name: "a", content: "x", pax }));
    const old = await tarOf({ name: "a", content: "x" });
    old.write("S", 156);
    await defect(resum(old));
  });
});

describe("safePath", () => {
  it.each([
    ["base/1/1259", "base/1/1259"],
    ["./base//1/", "base/1"],
    ["./", "."],
    [".", "."],
    ["..dots/a..b/...", "..dots/a..b/..."],
    ["C:\\windows", "C:\\windows"],
  ])("brings %j into its normal form", (path, normal) => {
    expect(safePath(path, "base.tar")).toBe(normal);
  });

  it.each(["", "/", "//base", "../a", "a/..", "a/../b", "a\0b"])("refuses %j", (path) => {
    expect(() => safePath(path, "base.tar")).toThrow(DamagedArchive);
  });
});
