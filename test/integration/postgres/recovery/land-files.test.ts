import { createHash } from "node:crypto";
import { existsSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Header, pack } from "tar-stream";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readTar } from "../../../../src/archive/tar.ts";
import { DefectError } from "../../../../src/errors.ts";
import type { ManifestFile } from "../../../../src/postgres/recovery/data-manifest.ts";
import { PENDING_CONTROL_FILE, startLanding } from "../../../../src/postgres/recovery/land-files.ts";
import { findRunUser, type RunUser } from "../../../../src/postgres/scratch/run-user.ts";
import { createScratch, type Scratch } from "../../../../src/postgres/scratch/scratch.ts";
import { type RoomContext, roomContext } from "../recovering.ts";

type Entry = Partial<Header> & { readonly name: string; readonly content?: Buffer };

const LARGE = Buffer.alloc(3 * 2 ** 20, "large");

describe("files that land", () => {
  let context: RoomContext;
  let scratch: Scratch;
  let user: RunUser | undefined;

  beforeEach(async () => {
    context = await roomContext();
    user = await findRunUser();
    scratch = await createScratch(user, context);
  });
  afterEach(async () => {
    await scratch.remove();
    await context[Symbol.asyncDispose]();
  });

  function listed(files: Readonly<Record<string, Buffer>>): Map<string, ManifestFile> {
    return new Map(
      Object.entries(files).map(([path, content]) => [
        path,
        {
          bytes: content.length,
          algorithm: "SHA256",
          checksum: createHash("sha256").update(content).digest("hex"),
        },
      ]),
    );
  }

  async function land(
    files: ReadonlyMap<string, ManifestFile>,
    archives: Readonly<Record<string, readonly Entry[]>>,
  ): Promise<number> {
    const landing = startLanding(scratch, { files, systemIdentifier: undefined });
    try {
      for (const [folder, entries] of Object.entries(archives)) {
        const tar = pack();
        for (const { content, ...header } of entries) tar.entry(header, content ?? "");
        tar.finalize();
        const bytes = tar as unknown as AsyncIterable<Buffer>;
        for await (const entry of readTar(bytes, "base.tar")) await landing.take(entry, folder, "base.tar");
      }
      await landing.finish(() => "base.tar");
    } finally {
      await landing.settle();
    }
    return landing.unverified();
  }

  function read(path: string): string {
    return readFileSync(join(scratch.data, path), "utf8");
  }

  test("are the server's own, small and large, in folders of mode 0700", async () => {
    const small = Buffer.from("small");
    const files = listed({ "base/1/1": small, "base/1/2": LARGE, "global/pg_control": small });
    await land(files, {
      "": [
        { name: "base", type: "directory", mode: 0o777 },
        { name: "base/1/1", content: small, mode: 0o644 },
        { name: "base/1/2", content: LARGE },
        { name: "global/pg_control", content: small },
        { name: "pg_wal/archive_status", type: "directory" },
      ],
    });
    expect(read("base/1/1")).toBe("small");
    expect(readFileSync(join(scratch.data, "base/1/2")).equals(LARGE)).toBe(true);
    const uid = user?.uid ?? process.getuid?.();
    for (const [path, mode] of [
      ["base", 0o40700],
      ["base/1/1", 0o100600],
      ["pg_wal/archive_status", 0o40700],
    ] as const) {
      expect(statSync(join(scratch.data, path))).toMatchObject({ mode, uid });
    }
    // No server starts on it before everything is proven.
    expect(existsSync(join(scratch.data, "global/pg_control"))).toBe(false);
    expect(read(PENDING_CONTROL_FILE)).toBe("small");
  });

  test("go to a folder of our own when they are of a tablespace", async () => {
    const content = Buffer.from("row");
    await land(listed({ "pg_tblspc/16384/PG_17/5/1": content }), {
      "": [{ name: "pg_tblspc/16384", type: "symlink", linkname: "/production/space" }],
      "pg_tblspc/16384": [{ name: "PG_17/5/1", content }],
    });
    expect(readlinkSync(join(scratch.data, "pg_tblspc/16384"))).toBe(join(scratch.tablespaces, "16384"));
    expect(readFileSync(join(scratch.tablespaces, "16384/PG_17/5/1"), "utf8")).toBe("row");
  });

  test("leave the source's settings and signals behind", async () => {
    const content = Buffer.from("primary_conninfo = 'x'\n");
    const files = listed({ "postgresql.auto.conf": content, "standby.signal": content });
    await land(files, {
      "": ["postgresql.auto.conf", "standby.signal", "recovery.signal"].map((name) => ({ name, content })),
    });
    expect(read("postgresql.auto.conf")).toBe("");
    expect(existsSync(join(scratch.data, "standby.signal"))).toBe(false);
    expect(existsSync(join(scratch.data, "recovery.signal"))).toBe(false);
  });

  test("without a checksum are counted", async () => {
    const content = Buffer.from("x");
    const file: ManifestFile = { bytes: 1, algorithm: "NONE", checksum: "" };
    expect(await land(new Map([["a", file]]), { "": [{ name: "a", content }] })).toBe(1);
  });

  const content = Buffer.from("content");
  const other = Buffer.from("Content");
  test.each<[string, Readonly<Record<string, Buffer>>, readonly Entry[], RegExp]>([
    [
      "other content",
      { a: content },
      [{ name: "a", content: other }],
      /The file a in base.tar does not match its SHA256/,
    ],
    [
      "another size",
      { a: content },
      [{ name: "a", content: LARGE }],
      /The file a in base.tar has 3145728 bytes, not 7/,
    ],
    [
      "a large file's other content",
      { a: Buffer.alloc(LARGE.length) },
      [{ name: "a", content: LARGE }],
      /does not match/,
    ],
    [
      "a file too many",
      { a: content },
      ["a", "b"].map((name) => ({ name, content })),
      /holds the file b, which/,
    ],
    ["a file too few", { a: content, b: content }, [{ name: "a", content }], /base.tar lacks the file b/],
    ["a file twice", { a: content }, ["a", "a"].map((name) => ({ name, content })), /holds the file a twice/],
    ["a link elsewhere", {}, [{ name: "etc", type: "symlink", linkname: "/etc" }], /holds the link etc/],
    [
      "a hard link",
      { a: content },
      [
        { name: "a", content },
        { name: "b", type: "link", linkname: "a" },
      ],
      /hard link b/,
    ],
  ])("are a defect with %s", async (_what, files, entries, message) => {
    const error = await land(listed(files), { "": entries }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DefectError);
    expect((error as Error).message).toMatch(message);
  });
});
