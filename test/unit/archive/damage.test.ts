import { describe, expect, it } from "vitest";
import { DamagedArchive } from "../../../src/archive/damage.ts";
import { type UnpackOptions, unpack } from "../../../src/archive/unpack.ts";
import { DefectError, UserError } from "../../../src/errors.ts";
import {
  collect,
  inChunks,
  mixedBytes,
  newKeys,
  once,
  type PackedBytes,
  packBytes,
  rejection,
  seeded,
} from "./helpers.ts";

const SUBJECT = "s3://bucket/db/backups/1/base.tar.zst.age";
const FRAME = 256;
const keys = await newKeys();
const other = await newKeys();
const raw = mixedBytes(700, seeded(11));

function options(more: Partial<UnpackOptions>): UnpackOptions {
  return { subject: SUBJECT, sealed: true, identity: keys.identity, ...more };
}

function open(bytes: Uint8Array, more: Partial<UnpackOptions>): Promise<Buffer> {
  return collect(unpack(once(bytes), options(more)));
}

async function defect(bytes: Uint8Array, more: Partial<UnpackOptions>): Promise<DamagedArchive> {
  const error = await rejection(open(bytes, more));
  expect(error).toBeInstanceOf(DamagedArchive);
  expect(error).toBeInstanceOf(DefectError);
  expect((error as DefectError).subject).toBe(SUBJECT);
  expect(error.message.startsWith(`${SUBJECT} `)).toBe(true);
  return error as DamagedArchive;
}

function recorded({ result }: PackedBytes): Partial<UnpackOptions> {
  return { storedSha256: result.storedSha256, storedBytes: result.storedBytes };
}

function* flipped(bytes: Buffer): Generator<Buffer, void, void> {
  for (let at = 0; at < bytes.length; at += 1) {
    const changed = Buffer.from(bytes);
    changed[at] = (changed[at] as number) ^ (1 << (at % 8));
    yield changed;
  }
}

describe("a sealed object", async () => {
  const packed = await packBytes(raw, { recipients: [keys.recipient], frameBytes: FRAME });

  it("is whole before the tests below change it", async () => {
    expect((await open(packed.bytes, recorded(packed))).equals(raw)).toBe(true);
  });

  it("is a defect with any one byte changed", async () => {
    for (const changed of flipped(packed.bytes)) await defect(changed, {});
  });

  it("is said to differ from its digest with any one byte changed, whoever notices first", async () => {
    for (const changed of flipped(packed.bytes)) {
      const pieces = inChunks(changed, seeded(1), 100);
      const error = await rejection(collect(unpack(pieces, options(recorded(packed)))));
      expect(error).toBeInstanceOf(DamagedArchive);
      expect((error as DamagedArchive).kind).toBe("altered");
      expect(error.message).toContain("its SHA-256 is not the one recorded");
    }
  });

  it("is a defect when cut off anywhere", async () => {
    for (let length = 0; length < packed.bytes.length; length += 1) {
      await defect(packed.bytes.subarray(0, length), {});
    }
  });

  it("is said to be truncated, with both sizes, when the size is known", async () => {
    for (let length = 0; length < packed.bytes.length; length += 7) {
      const error = await defect(packed.bytes.subarray(0, length), recorded(packed));
      expect(error.kind).toBe("truncated");
      expect(error.message).toContain(`${length} of the ${packed.bytes.length} bytes`);
    }
  });

  it("is a defect with bytes added", async () => {
    const longer = Buffer.concat([packed.bytes, Buffer.from("x")]);
    await defect(longer, {});
    const error = await defect(longer, recorded(packed));
    expect(error.message).toContain(`it has ${longer.length} bytes, but ${packed.bytes.length} were written`);
  });

  it("is a defect when it is another object of the same key", async () => {
    const swapped = await packBytes(mixedBytes(700, seeded(12)), {
      recipients: [keys.recipient],
      frameBytes: FRAME,
    });
    const { storedSha256 } = packed.result;
    expect((await defect(swapped.bytes, { storedSha256 })).kind).toBe("altered");
    expect((await defect(swapped.bytes, { frames: packed.result.frames })).kind).toBe("altered");
  });

  it("is said to be sealed with another key when the identity is another one", async () => {
    const error = await defect(packed.bytes, { ...recorded(packed), identity: other.identity });
    expect(error.kind).toBe("wrong-key");
    expect(error.message).toContain("sealed with another key");
  });

  it("is not fetched to its end for a wrong identity", async () => {
    let given = 0;
    async function* large(): AsyncGenerator<Uint8Array, void, void> {
      yield packed.bytes;
      const zeros = Buffer.alloc(2 ** 20);
      for (;;) {
        given += zeros.length;
        yield zeros;
      }
    }
    const wrong = options({ ...recorded(packed), identity: other.identity });
    expect(await rejection(collect(unpack(large(), wrong)))).toMatchObject({ kind: "wrong-key" });
    expect(given).toBeLessThan(80 * 2 ** 20);
  });

  it.each([undefined, "", " \n"])(
    "asks the user for an identity when there is none (%j)",
    async (identity) => {
      const error = await rejection(open(packed.bytes, { identity }));
      expect(error).toBeInstanceOf(UserError);
      expect(error.message).toContain(SUBJECT);
      expect(error.message).toContain("encryption.identity");
    },
  );

  it("blames the user for a malformed identity, not the object", async () => {
    expect(await rejection(open(packed.bytes, { identity: "AGE-SECRET-KEY-1QQQQ" }))).toBeInstanceOf(
      UserError,
    );
  });

  it("is not a zstd archive", async () => {
    expect((await defect(packed.bytes, { sealed: false })).kind).toBe("foreign");
  });
});

describe("an object that is not sealed", async () => {
  const packed = await packBytes(raw, { recipients: [], frameBytes: FRAME });
  const plain = { sealed: false, identity: undefined };

  it("gives a defect or the very same bytes with any one byte changed", async () => {
    let defects = 0;
    for (const changed of flipped(packed.bytes)) {
      const outcome = await open(changed, plain).catch((error: unknown) => error);
      // Some bits of a frame's header mean nothing to its content.
      if (Buffer.isBuffer(outcome)) expect(outcome.equals(raw)).toBe(true);
      else expect(outcome).toBeInstanceOf(DamagedArchive);
      if (!Buffer.isBuffer(outcome)) defects += 1;
    }
    expect(defects).toBeGreaterThan(packed.bytes.length * 0.95);
  });

  it("is said to differ from its digest with any one byte changed", async () => {
    for (const changed of flipped(packed.bytes)) {
      const error = await defect(changed, { ...plain, ...recorded(packed) });
      expect(error.message).toContain("its SHA-256 is not the one recorded");
    }
  });

  it("is a defect when cut off anywhere, between two frames too", async () => {
    const { frames } = packed.result;
    expect(frames.length).toBeGreaterThan(2);
    for (let length = 0; length < packed.bytes.length; length += 1) {
      const error = await defect(packed.bytes.subarray(0, length), { ...plain, frames });
      expect(error.kind).toBe("truncated");
    }
  });

  it("is a defect when its frames are exchanged", async () => {
    const { frames } = packed.result;
    const [first, second] = frames as [number, number];
    const exchanged = Buffer.concat([
      packed.bytes.subarray(first, first + second),
      packed.bytes.subarray(0, first),
      packed.bytes.subarray(first + second),
    ]);
    expect(first).not.toBe(second);
    expect((await defect(exchanged, { ...plain, frames })).message).toContain("its zstd frame 1 has");
    expect((await defect(exchanged, { ...plain, ...recorded(packed) })).message).toContain("SHA-256");
  });

  it("is a defect with a frame more than recorded", async () => {
    const { frames } = packed.result;
    const doubled = Buffer.concat([
      packed.bytes,
      packed.bytes.subarray(packed.bytes.length - (frames.at(-1) ?? 0)),
    ]);
    expect((await defect(doubled, { ...plain, frames })).message).toContain("none were recorded");
  });

  it("is not an age file", async () => {
    expect((await defect(packed.bytes, {})).kind).toBe("foreign");
  });

  it("accepts a digest in capital letters", async () => {
    const storedSha256 = packed.result.storedSha256.toUpperCase();
    expect((await open(packed.bytes, { ...plain, storedSha256 })).equals(raw)).toBe(true);
  });
});

it("a source that fails while the digest is computed does not hide the damage", async () => {
  async function* failing(): AsyncGenerator<Uint8Array, void, void> {
    yield Buffer.from("this is no zstd frame");
    throw new Error("connection reset");
  }
  const reading = collect(unpack(failing(), options({ sealed: false, storedSha256: "00" })));
  expect(await rejection(reading)).toMatchObject({ kind: "foreign" });
});
