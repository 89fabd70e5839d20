import { createHash } from "node:crypto";
import type { ChecksumAlgorithm } from "./data-manifest.ts";

/** Sums up a file's bytes as `backup_manifest` does. */
export interface Checksum {
  update(bytes: Uint8Array): void;
  /** In hex; empty for NONE. */
  digest(): string;
}

export function startChecksum(algorithm: ChecksumAlgorithm): Checksum {
  if (algorithm === "NONE") return { update: () => undefined, digest: () => "" };
  if (algorithm === "CRC32C") return startCrc32c();
  const hash = createHash(algorithm.toLowerCase());
  return { update: (bytes) => hash.update(bytes), digest: () => hash.digest("hex") };
}

const CASTAGNOLI = 0x82f63b78;
let table: Uint32Array | undefined;

function crcTable(): Uint32Array {
  table ??= Uint32Array.from({ length: 256 }, (_, byte) => {
    let value = byte;
    for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ CASTAGNOLI : value >>> 1;
    return value;
  });
  return table;
}

/** PostgreSQL prints the CRC's bytes in the machine's order, which is little-endian wherever Node.js runs. */
function startCrc32c(): Checksum {
  const lookup = crcTable();
  let crc = 0xffff_ffff;
  return {
    update(bytes) {
      for (const byte of bytes) crc = (crc >>> 8) ^ (lookup[(crc ^ byte) & 0xff] ?? 0);
    },
    digest() {
      const out = Buffer.alloc(4);
      out.writeUInt32LE((crc ^ 0xffff_ffff) >>> 0);
      return out.toString("hex");
    },
  };
}
