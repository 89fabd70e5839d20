import { generateHybridIdentity, identityToRecipient } from "age-encryption";
import { describe, expect, it } from "vitest";
import { checkIdentity, checkRecipient, createHeader, openHeader } from "../../../src/archive/age.ts";
import { DamagedArchive } from "../../../src/archive/damage.ts";
import { UserError } from "../../../src/errors.ts";
import { newKeys, rejection } from "./helpers.ts";

const keys = await newKeys();
const other = await newKeys();

/** The key with one letter of its middle changed, so that its checksum is wrong. */
function misspelt(key: string): string {
  const letter = key[30] === "q" || key[30] === "Q" ? "p" : "q";
  return key.slice(0, 30) + (key === key.toUpperCase() ? letter.toUpperCase() : letter) + key.slice(31);
}

describe("checkRecipient", () => {
  it("has nothing to say about a key of age-keygen", () => {
    expect(checkRecipient(keys.recipient)).toBeUndefined();
  });

  it.each([
    ["an empty text", "", "starts with age1"],
    ["an ssh key", "ssh-ed25519 AAAA", "starts with age1"],
    ["a misspelt key", misspelt(keys.recipient), "checksum does not match"],
    ["a key that lost its end", keys.recipient.slice(0, -1), "checksum does not match"],
    ["a key with a space behind it", `${keys.recipient} `, "checksum does not match"],
    ["a plugin's key", "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t", "plugin"],
  ])("says what is wrong with %s", (_, text, sentence) => {
    expect(checkRecipient(text)).toContain(sentence);
  });

  it("says that post-quantum keys are not supported", async () => {
    const hybrid = await identityToRecipient(await generateHybridIdentity());
    expect(checkRecipient(hybrid)).toContain("only X25519 keys");
  });

  it.each([keys.identity, keys.identity.toLowerCase()])("does not repeat a private key", (identity) => {
    const sentence = checkRecipient(identity) ?? "";
    expect(sentence).toContain("private");
    expect(sentence.toLowerCase()).not.toContain(identity.slice(20, 40).toLowerCase());
  });
});

describe("checkIdentity", () => {
  it.each([
    ["a line", keys.identity],
    ["a file of age-keygen", `# created: 2026-01-25\n# public key: ${keys.recipient}\n${keys.identity}\n`],
    ["a file of Windows with two keys", `${keys.identity}\r\n\r\n${other.identity}\r\n`],
    ["an indented line", `  ${keys.identity}  `],
  ])("has nothing to say about %s", (_, text) => {
    expect(checkIdentity(text)).toBeUndefined();
  });

  it.each([
    ["an empty text", "", "is empty"],
    ["comments alone", "# nothing\n\n", "is empty"],
    ["a public key", keys.recipient, "is a public key"],
    ["some other text", "hunter2", "not a private key"],
    ["a misspelt key", misspelt(keys.identity), "is damaged"],
    ["a good key and a misspelt one", `${keys.identity}\n${misspelt(other.identity)}`, "is damaged"],
    ["a post-quantum key", "AGE-SECRET-KEY-PQ-1QQQ", "not a private key"],
  ])("says what is wrong with %s and does not repeat it", (_, text, sentence) => {
    const answer = checkIdentity(text) ?? "";
    expect(answer).toContain(sentence);
    expect(answer).not.toContain("hunter2");
    expect(answer).not.toContain(misspelt(keys.identity).slice(20, 40));
    expect(answer).not.toContain(misspelt(other.identity).slice(20, 40));
  });
});

describe("a header", () => {
  it("gives each of its recipients the same file key", async () => {
    const { header, fileKey } = await createHeader([keys.recipient, other.recipient]);
    expect(await openHeader(header, keys.identity, "object")).toEqual(fileKey);
    expect(await openHeader(header, other.identity, "object")).toEqual(fileKey);
  });

  it("is opened by any line of an identity file", async () => {
    const { header, fileKey } = await createHeader([keys.recipient]);
    const file = `# two keys\n${other.identity}\n${keys.identity}\n`;
    expect(await openHeader(header, file, "object")).toEqual(fileKey);
  });

  it("has another file key each time", async () => {
    const first = await createHeader([keys.recipient]);
    const second = await createHeader([keys.recipient]);
    expect(first.fileKey).not.toEqual(second.fileKey);
  });

  it("stays closed for another identity", async () => {
    const { header } = await createHeader([keys.recipient]);
    const error = await rejection(openHeader(header, other.identity, "object"));
    expect(error).toBeInstanceOf(DamagedArchive);
    expect(error).toMatchObject({ kind: "wrong-key", subject: "object" });
    expect(error.message).toBe("object is sealed with another key: the age identity in use cannot open it.");
  });

  it("refuses a malformed identity without repeating it, not even in the cause", async () => {
    const { header } = await createHeader([keys.recipient]);
    const error = await rejection(openHeader(header, misspelt(keys.identity), "object"));
    expect(error).toBeInstanceOf(UserError);
    expect(error.message).not.toContain(misspelt(keys.identity).slice(20, 40));
    expect(error.cause).toBeUndefined();
  });

  it("is not made for a malformed recipient", async () => {
    const error = await rejection(createHeader([keys.recipient, misspelt(keys.recipient)]));
    expect(error).toBeInstanceOf(UserError);
    expect(error.message).toContain("checksum does not match");
  });

  it("is not made for a key that hides nothing", async () => {
    // 32 zero bytes: a point of low order, with a valid checksum.
    const lowOrder = "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5cu47z";
    expect(checkRecipient(lowOrder)).toBeUndefined();
    const error = await rejection(createHeader([lowOrder]));
    expect(error).toBeInstanceOf(UserError);
    expect(error.message).toContain("not a usable public key");
  });
});
