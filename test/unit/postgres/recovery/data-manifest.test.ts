import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { DefectError } from "../../../../src/errors.ts";
import { startChecksum } from "../../../../src/postgres/recovery/checksum.ts";
import { isSafePath, parseDataManifest } from "../../../../src/postgres/recovery/data-manifest.ts";

function manifestOf(files: readonly object[], more = ""): Buffer {
  const lines = [
    '{ "PostgreSQL-Backup-Manifest-Version": 2,',
    `${more}"Files": [`,
    files.map((file) => JSON.stringify(file)).join(",\n"),
    "],",
    '"WAL-Ranges": [],',
    "",
  ].join("\n");
  const digest = createHash("sha256").update(lines).digest("hex");
  return Buffer.from(`${lines}"Manifest-Checksum": "${digest}"}\n`);
}

const FILE = { Path: "base/1/1259", Size: 3, "Checksum-Algorithm": "SHA256", Checksum: "AB" };

describe("a backup_manifest", () => {
  test("lists files with their checksums, also those whose names had to be encoded", () => {
    const encoded = { "Encoded-Path": Buffer.from("base/ä").toString("hex"), Size: 1 };
    const { files, systemIdentifier } = parseDataManifest(
      manifestOf([FILE, encoded], '"System-Identifier": 7576340251111111111,\n'),
      "m",
    );
    expect([...files]).toEqual([
      ["base/1/1259", { bytes: 3, algorithm: "SHA256", checksum: "ab" }],
      ["base/ä", { bytes: 1, algorithm: "NONE", checksum: "" }],
    ]);
    expect(systemIdentifier).toBe("7576340251111111111");
    expect(parseDataManifest(manifestOf([FILE]), "m").systemIdentifier).toBeUndefined();
  });

  test.each([
    ["one character was changed", Buffer.from(manifestOf([FILE]).toString().replace('"Size":3', '"Size":4'))],
    ["it is cut", manifestOf([FILE]).subarray(0, 100)],
    ["it is something else", Buffer.from("{}")],
    ["it is empty", Buffer.alloc(0)],
    ["it names a file outside", manifestOf([{ ...FILE, Path: "../../etc/passwd" }])],
    ["its checksum algorithm is unknown", manifestOf([{ ...FILE, "Checksum-Algorithm": "MD5" }])],
  ])("is a defect when %s", (_why, bytes) => {
    expect(() => parseDataManifest(bytes, "s3://bucket/backup_manifest")).toThrow(DefectError);
    expect(() => parseDataManifest(bytes, "s3://bucket/backup_manifest")).toThrow(
      /s3:\/\/bucket\/backup_manifest/,
    );
  });
});

test.each([
  ["a/b", true],
  ["a", true],
  ["/a", false],
  ["a/../b", false],
  ["", false],
  ["a//b", false],
  ["./a", false],
])("the path %j stays inside: %s", (path, expected) => {
  expect(isSafePath(path)).toBe(expected);
});

test("checksums are those of PostgreSQL", () => {
  const bytes = Buffer.from("123456789");
  function sum(algorithm: Parameters<typeof startChecksum>[0]): string {
    const checksum = startChecksum(algorithm);
    checksum.update(bytes.subarray(0, 4));
    checksum.update(bytes.subarray(4));
    return checksum.digest();
  }
  // The check value of CRC-32C is e3069283; PostgreSQL prints its bytes from the lowest.
  expect(sum("CRC32C")).toBe("839206e3");
  expect(sum("NONE")).toBe("");
  expect(sum("SHA512")).toBe(createHash("sha512").update(bytes).digest("hex"));
});
