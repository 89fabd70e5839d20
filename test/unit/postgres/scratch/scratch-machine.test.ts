import { describe, expect, test } from "vitest";
import { ToolError } from "../../../../src/errors.ts";
import { MAX_WAL_BYTES, neededBytes, requireFreeDisk } from "../../../../src/postgres/recovery/disk.ts";
import { binaryFolders, parseServerVersion } from "../../../../src/postgres/scratch/binaries.ts";
import { pickRunUser } from "../../../../src/postgres/scratch/run-user.ts";

describe("the server's programs", () => {
  test.each([
    ["postgres (PostgreSQL) 15.18 (Debian 15.18-1.pgdg12+1)\n", { major: 15, version: "15.18" }],
    ["postgres (PostgreSQL) 18beta1", { major: 18, version: "18beta1" }],
    ["postgres (EnterpriseDB) 9", undefined],
    ["", undefined],
  ])("tell their version: %j", (output, expected) => {
    expect(parseServerVersion(output)).toEqual(expected);
  });

  test("are looked for where distributions put the major version, then in PATH", () => {
    const folders = binaryFolders(17, "/a:relative:/b");
    expect(folders[0]).toBe("/usr/lib/postgresql/17/bin");
    expect(folders).toContain("/usr/pgsql-17/bin");
    expect(folders.slice(-2)).toEqual(["/a", "/b"]);
  });
});

describe("the user to drop to", () => {
  const nobody = "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin";
  const postgres = "postgres:x:101:104::/var/lib/postgresql:/bin/bash";

  test("is postgres, else nobody, and never one with root's id", () => {
    expect(pickRunUser(`${nobody}\n${postgres}\n`)).toEqual({ name: "postgres", uid: 101, gid: 104 });
    expect(pickRunUser(`root:x:0:0::/:/bin/sh\n${nobody}`)).toEqual({
      name: "nobody",
      uid: 65534,
      gid: 65534,
    });
    expect(pickRunUser("postgres:x:0:0::/:/bin/sh")).toBeUndefined();
    expect(pickRunUser("")).toBeUndefined();
  });
});

describe("the disk that a recovery needs", () => {
  const segment = {
    name: "",
    timeline: 1,
    number: 1,
    key: "",
    sealed: false,
    storedBytes: 1,
    modified: new Date(0),
  };
  const SEGMENT = 16 * 2 ** 20;

  test("is the data, the WAL that lies around at once, and a reserve", () => {
    expect(neededBytes(10, [], SEGMENT, 16)).toBeGreaterThan(10);
    expect(neededBytes(0, [segment, segment], SEGMENT, 16) - neededBytes(0, [], SEGMENT, 16)).toBe(
      2 * SEGMENT,
    );
    const many = Array.from({ length: 10_000 }, () => segment);
    expect(neededBytes(0, many, SEGMENT, 16) - neededBytes(0, [], SEGMENT, 16)).toBe(
      MAX_WAL_BYTES + 16 * SEGMENT,
    );
  });

  test("is compared with what is free, and what is missing is said", async () => {
    await requireFreeDisk("/", 1);
    await expect(requireFreeDisk("/", 2 ** 60)).rejects.toThrow(ToolError);
    await expect(requireFreeDisk("/", 2 ** 60)).rejects.toThrow(/needs 1024 PiB of disk at \/.* are missing/);
  });
});
