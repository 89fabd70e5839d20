import { createCipheriv, hkdfSync, randomBytes } from "node:crypto";
import { Decrypter, Encrypter } from "age-encryption";
import { describe, expect, it } from "vitest";
import { createHeader } from "../../../src/archive/age.ts";
import { openStream, sealStream } from "../../../src/archive/age-stream.ts";
import { DamagedArchive } from "../../../src/archive/damage.ts";
import { collect, inChunks, mixedBytes, newKeys, once, rejection, seeded } from "./helpers.ts";

const CHUNK = 65_536;
const SEALED_CHUNK = CHUNK + 16;
const SIZES = [0, 1, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 5 * CHUNK + 100];
const keys = await newKeys();
const other = await newKeys();

function seal(plain: Buffer): Promise<Buffer> {
  return collect(sealStream(once(plain), [keys.recipient]));
}

function open(sealed: Buffer, identity = keys.identity): Promise<Buffer> {
  return collect(openStream(once(sealed), identity, "object"));
}

async function defect(sealed: Buffer): Promise<DamagedArchive> {
  const error = await rejection(open(sealed));
  expect(error).toBeInstanceOf(DamagedArchive);
  expect(error.message).toMatch(/^object /);
  return error as DamagedArchive;
}

/** Header with nonce, and the chunks behind it. */
function split(sealed: Buffer): { start: Buffer; chunks: Buffer[] } {
  const startBytes = sealed.indexOf("\n", sealed.indexOf("\n---") + 1) + 1 + 16;
  const chunks: Buffer[] = [];
  for (let at = startBytes; at < sealed.length; at += SEALED_CHUNK) {
    chunks.push(sealed.subarray(at, at + SEALED_CHUNK));
  }
  return { start: sealed.subarray(0, startBytes), chunks };
}

describe.each(SIZES)("a sealed stream of %i bytes", (size) => {
  const plain = mixedBytes(size, seeded(size));

  it("is opened again, whatever the chunks it comes in", async () => {
    const random = seeded(size);
    for (const largest of [300, 70_000, 400_000]) {
      const sealed = await collect(sealStream(inChunks(plain, random, largest), [keys.recipient]));
      const opened = await collect(openStream(inChunks(sealed, random, largest), keys.identity, "object"));
      expect(opened.equals(plain)).toBe(true);
    }
  });

  it("is opened by the age-encryption package", async () => {
    const decrypter = new Decrypter();
    decrypter.addIdentity(keys.identity);
    expect(Buffer.from(await decrypter.decrypt(await seal(plain))).equals(plain)).toBe(true);
  });

  it("is opened when the age-encryption package sealed it", async () => {
    const encrypter = new Encrypter();
    encrypter.addRecipient(other.recipient);
    encrypter.addRecipient(keys.recipient);
    expect((await open(Buffer.from(await encrypter.encrypt(plain)))).equals(plain)).toBe(true);
  });
});

it("a sealed stream can come byte by byte", async () => {
  const plain = mixedBytes(500, seeded(1));
  const sealed = await seal(plain);
  async function* bytes(): AsyncGenerator<Buffer, void, void> {
    for (let at = 0; at < sealed.length; at += 1) yield sealed.subarray(at, at + 1);
  }
  expect((await collect(openStream(bytes(), keys.identity, "object"))).equals(plain)).toBe(true);
});

describe("chunks of a sealed stream", async () => {
  const plain = mixedBytes(3 * CHUNK + 500, seeded(2));
  const { start, chunks } = split(await seal(plain));
  const [a, b, c, last] = chunks as [Buffer, Buffer, Buffer, Buffer];
  const foreign = split(await seal(mixedBytes(3 * CHUNK + 500, seeded(3)))).chunks;

  it("are in their order here, so that the tests below change something", async () => {
    expect((await open(Buffer.concat([start, a, b, c, last]))).equals(plain)).toBe(true);
  });

  it.each([
    ["exchanged", [b, a, c, last]],
    ["doubled", [a, a, b, c, last]],
    ["left out at the beginning", [b, c, last]],
    ["left out in the middle", [a, c, last]],
    ["taken from another file", [a, foreign[1] as Buffer, c, last]],
    ["reversed", [last, c, b, a]],
  ])("are noticed when %s", async (_, order) => {
    expect((await defect(Buffer.concat([start, ...order]))).kind).toBe("altered");
  });

  it("are missed when the last one is absent, and the message says so", async () => {
    const error = await defect(Buffer.concat([start, a, b, c]));
    expect(error.kind).toBe("truncated");
    expect(error.message).toContain("the last chunk of its age payload is absent");
  });

  it("are missed when all of them are absent", async () => {
    expect((await defect(start)).kind).toBe("truncated");
  });

  it("are noticed when a last one follows the last one", async () => {
    const two = await defect(Buffer.concat([start, a, b, c, last, last]));
    expect(two.kind).toBe("altered");
    const full = split(await seal(plain.subarray(0, 2 * CHUNK)));
    const trailing = await defect(Buffer.concat([full.start, ...full.chunks, Buffer.from("x")]));
    expect(trailing.message).toContain("there are bytes after the end of its age payload");
  });
});

it("an empty last chunk is only right in an empty file", async () => {
  const { header, fileKey } = await createHeader([keys.recipient]);
  const nonce = randomBytes(16);
  const key = Buffer.from(hkdfSync("sha256", fileKey, nonce, "payload", 32));
  function chunk(plain: Buffer, counter: number, last: number): Buffer {
    const chunkNonce = Buffer.alloc(12);
    chunkNonce[10] = counter;
    chunkNonce[11] = last;
    const cipher = createCipheriv("chacha20-poly1305", key, chunkNonce, { authTagLength: 16 });
    return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  }
  const full = Buffer.alloc(CHUNK, 7);
  const good = Buffer.concat([header, nonce, chunk(full, 0, 1)]);
  expect((await open(good)).equals(full)).toBe(true);
  const empty = Buffer.concat([header, nonce, chunk(Buffer.alloc(0), 0, 1)]);
  expect(await open(empty)).toHaveLength(0);
  const padded = Buffer.concat([header, nonce, chunk(full, 0, 0), chunk(Buffer.alloc(0), 1, 1)]);
  expect((await defect(padded)).message).toContain("last chunk is empty");
});

describe("what is not an age file", () => {
  it.each([
    ["a tar", Buffer.alloc(1024, "base/PG_VERSION"), "foreign"],
    ["an armored file", Buffer.from("-----BEGIN AGE ENCRYPTED FILE-----\n"), "foreign"],
    ["an age file of another version", Buffer.from("age-encryption.org/v2\n-> X25519 a\n"), "foreign"],
    ["the beginning of a header", Buffer.from("age-encry"), "truncated"],
    ["nothing", Buffer.alloc(0), "truncated"],
    [
      "a header without an end",
      Buffer.concat([Buffer.from("age-encryption.org/v1\n"), Buffer.alloc(70_000, "x")]),
      "altered",
    ],
  ])("is told from one: %s", async (_, bytes, kind) => {
    expect((await defect(bytes)).kind).toBe(kind);
  });
});
