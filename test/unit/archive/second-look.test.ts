import { createHash, randomBytes } from "node:crypto";
import { generateIdentity, identityToRecipient } from "age-encryption";
import { beforeAll, describe, expect, test } from "vitest";
import { DamagedArchive } from "../../../src/archive/damage.ts";
import { pack } from "../../../src/archive/pack.ts";
import { readSettled } from "../../../src/archive/second-look.ts";
import { unpack } from "../../../src/archive/unpack.ts";
import { DefectError, ToolError } from "../../../src/errors.ts";
import { GarbledRead, readAll } from "../../../src/stores/store.ts";
import { once } from "../../support/bytes.ts";

const RAW_BYTES = 300_000;
let identity: string;

beforeAll(async () => {
  identity = await generateIdentity();
});

interface Packed {
  readonly stored: Buffer;
  readonly raw: Buffer;
  readonly read: (arrives: Buffer, reread: (offset: number, length: number) => Buffer) => Promise<Buffer>;
}

async function packed(sealed: boolean): Promise<Packed> {
  const raw = randomBytes(RAW_BYTES);
  const recipients = sealed ? [await identityToRecipient(identity)] : [];
  const packing = pack(once(raw), { recipients, frameBytes: 40_000 });
  const stored = await readAll(packing.stream);
  const { frames, storedBytes, storedSha256 } = packing.result();
  return {
    stored,
    raw,
    async read(arrives, reread) {
      const options = { subject: "s3://b/x", sealed, identity, frames, storedBytes, storedSha256 };
      return await readAll(
        unpack(pieces(arrives), { ...options, reread: async (offset, length) => reread(offset, length) }),
      );
    },
  };
}

async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 70_000) yield Buffer.from(bytes.subarray(at, at + 70_000));
}

function wrongAt(bytes: Buffer, place: number, bit = 1): Buffer {
  const wrong = Buffer.from(bytes);
  wrong[place] = (wrong[place] ?? 0) ^ bit;
  return wrong;
}

describe.each([true, false])("an archive (sealed: %s)", (sealed) => {
  test("with a wrong byte anywhere on the way is whole after a second look, which asks for a piece only", async () => {
    const { stored, raw, read } = await packed(sealed);
    const places = [0, 5, 100, 150, 180, 199, 205, 215, 220, stored.length - 1];
    for (let place = 1_000; place < stored.length; place += 29_973) places.push(place);
    for (const place of places) {
      let asked = 0;
      const got = await read(wrongAt(stored, place, 1 << (place % 8)), (offset, length) => {
        asked += length;
        return stored.subarray(offset, offset + length);
      });
      expect(got.equals(raw), `byte ${place}`).toBe(true);
      // The first piece of a sealed archive is its header, with all that arrived with it.
      expect(asked, `byte ${place}`).toBeLessThanOrEqual(stored.length);
      if (place > 70_000) expect(asked, `byte ${place}`).toBeLessThan(70_000);
    }
  });

  test("with several wrong bytes, some of them wrong once more when read again, is whole in the end", async () => {
    const { stored, raw, read } = await packed(sealed);
    let wrong = stored;
    for (let place = 777; place < stored.length; place += 31_000) wrong = wrongAt(wrong, place);
    let rereads = 0;
    const got = await read(wrong, (offset, length) => {
      rereads += 1;
      const piece = Buffer.from(stored.subarray(offset, offset + length));
      return rereads % 2 === 1 ? wrongAt(piece, length - 1 - rereads) : piece;
    });
    expect(got.equals(raw)).toBe(true);
    expect(rereads).toBeGreaterThan(4);
  });

  test("that is wrong in the store is a defect, after one more reading of the piece", async () => {
    const { stored, read } = await packed(sealed);
    for (const place of [150, 30_000, stored.length - 1]) {
      const damaged = wrongAt(stored, place, 4);
      let rereads = 0;
      const reading = read(damaged, (offset, length) => {
        rereads += 1;
        return damaged.subarray(offset, offset + length);
      });
      await expect(reading, `byte ${place}`).rejects.toThrow(DamagedArchive);
      expect(rereads).toBeGreaterThan(0);
    }
  });

  test("that arrives otherwise each time is no defect: nothing is proven", async () => {
    const { stored, read } = await packed(sealed);
    let rereads = 0;
    const reading = read(wrongAt(stored, 90_000), (offset, length) => {
      rereads += 1;
      return wrongAt(Buffer.from(stored.subarray(offset, offset + length)), rereads);
    });
    await expect(reading).rejects.toThrow(GarbledRead);
    await expect(reading).rejects.toThrow(ToolError);
  });
});

describe("what is read as a whole", () => {
  function reader(readings: readonly string[], good = "good"): { times: number; run(): Promise<string> } {
    const state = {
      times: 0,
      run: () =>
        readSettled("s3://b/x", async (tap) => {
          const arrives = readings[Math.min(state.times, readings.length - 1)] ?? `noise ${state.times}`;
          state.times += 1;
          const text = (
            await readAll(tap(once(arrives === "noise" ? `noise ${state.times}` : arrives)))
          ).toString();
          if (text !== good) throw new DefectError("s3://b/x", `It is ${text}.`);
          return createHash("sha256").update(text).digest("hex");
        }),
    };
    return state;
  }

  test("is read again when it seems damaged", async () => {
    const reads = reader(["bad", "worse", "good"]);
    await reads.run();
    expect(reads.times).toBe(3);
  });

  test("is damaged when two readings agree", async () => {
    const reads = reader(["worse", "bad", "bad", "good"]);
    await expect(reads.run()).rejects.toThrow(DefectError);
    expect(reads.times).toBe(3);
  });

  test("is not called damaged when no two readings agree", async () => {
    await expect(reader(["noise"]).run()).rejects.toThrow(GarbledRead);
  });
});
