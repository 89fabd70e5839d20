import { Decrypter, Encrypter } from "age-encryption";
import { UserError } from "../errors.ts";
import { DamagedArchive } from "./damage.ts";

/*
 * The header of the age v1 format (https://age-encryption.org/v1, C2SP age specification) by the `age-encryption` package.
 * The payload is in age-stream.ts. Messages never hold an identity, nor the package's own messages: they quote it.
 */

/** First line of every age file. */
const INTRO = "age-encryption.org/v1\n";
/** A header has about 100 bytes per recipient; one that is larger than this is not a header. */
const MAX_HEADER_BYTES = 64 * 1024;

/** A sentence that says what is wrong with an age recipient (a public key, `age1…`), or undefined if nothing is. */
export function checkRecipient(text: string): string | undefined {
  if (/^age-secret-key-/i.test(text)) {
    return "This is a private age identity, not a recipient: write the public key that `age-keygen -y` prints for it, and replace the identity if others could read it here.";
  }
  if (!text.startsWith("age1")) {
    return "An age recipient is a public key that starts with age1, as age-keygen prints it.";
  }
  // In bech32 a 1 ends the kind of key, and the rest has none.
  if (/^age1[^1]*1/.test(text)) {
    return "This age recipient belongs to a plugin or to another kind of key: only X25519 keys (age1… with 62 characters) are supported.";
  }
  try {
    new Encrypter().addRecipient(text);
    return undefined;
  } catch {
    return "This age recipient is damaged (its checksum does not match): copy the whole key again, 62 characters that start with age1.";
  }
}

/**
 * A sentence that says what is wrong with an age identity, or undefined if nothing is. Like an identity file of age it
 * may have several lines, empty ones and comments (`# …`).
 */
export function checkIdentity(text: string): string | undefined {
  const lines = identityLines(text);
  if (lines.length === 0) {
    return "The age identity is empty: it must hold a private key that starts with AGE-SECRET-KEY-1, as age-keygen prints it.";
  }
  for (const line of lines) {
    if (line.startsWith("age1")) {
      return "The age identity is a public key (age1…): reading needs the private key that starts with AGE-SECRET-KEY-1.";
    }
    if (!line.startsWith("AGE-SECRET-KEY-1")) {
      return "The age identity has a line that is not a private key: each must start with AGE-SECRET-KEY-1, as age-keygen prints it.";
    }
    try {
      new Decrypter().addIdentity(line);
    } catch {
      return "The age identity is damaged (its checksum does not match): copy the whole line again that starts with AGE-SECRET-KEY-1.";
    }
  }
  return undefined;
}

function identityLines(text: string): string[] {
  return text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
}

/**
 * A new random file key, wrapped for each recipient in the header of an age file.
 * @throws UserError when a recipient is malformed.
 */
export async function createHeader(
  recipients: readonly string[],
): Promise<{ header: Buffer; fileKey: Uint8Array }> {
  const encrypter = new Encrypter();
  for (const recipient of recipients) {
    const problem = checkRecipient(recipient);
    if (problem !== undefined) throw new UserError(problem);
    encrypter.addRecipient(recipient);
  }
  let fileKey: Uint8Array | undefined;
  // This "recipient" adds nothing to the header: it only learns the file key, which the package keeps to itself.
  encrypter.addRecipient({
    wrapFileKey(key) {
      fileKey = Uint8Array.from(key);
      return [];
    },
  });
  const file = await seal(encrypter);
  const end = headerLength(file);
  if (fileKey === undefined || end === undefined) throw new Error("age-encryption gave no header");
  return { header: file.subarray(0, end), fileKey };
}

async function seal(encrypter: Encrypter): Promise<Buffer> {
  try {
    return Buffer.from(await encrypter.encrypt(new Uint8Array(0)));
  } catch (cause) {
    // The checksum of such a key is right, but it is no point of the curve that could hide anything.
    throw new UserError("An age recipient is not a usable public key: make a new one with age-keygen.", {
      cause,
    });
  }
}

/**
 * Length of the header at the start of an age file; undefined when it is not all there yet.
 * The header's last line starts with `---`, which no other line can.
 */
function headerLength(bytes: Buffer): number | undefined {
  const last = bytes.indexOf("\n---");
  if (last === -1) return undefined;
  const end = bytes.indexOf("\n", last + 1);
  return end === -1 ? undefined : end + 1;
}

/**
 * Finds the header's end in the bytes read so far; undefined when more must be read.
 * @throws DamagedArchive when these bytes cannot become an age header.
 */
export function findHeader(bytes: Buffer, subject: string): number | undefined {
  const compared = Math.min(bytes.length, INTRO.length);
  if (bytes.toString("latin1", 0, compared) !== INTRO.slice(0, compared)) {
    throw new DamagedArchive(
      subject,
      "foreign",
      "is not sealed with age: it does not start with an age v1 header.",
    );
  }
  const length = headerLength(bytes);
  if ((length ?? bytes.length) > MAX_HEADER_BYTES) {
    throw new DamagedArchive(subject, "altered", "was altered: its age header has no end.");
  }
  return length;
}

/**
 * The file key that a header holds for this identity.
 * @throws UserError when the identity is malformed, DamagedArchive when it is another one or the header was altered.
 */
export async function openHeader(header: Buffer, identity: string, subject: string): Promise<Uint8Array> {
  const problem = checkIdentity(identity);
  if (problem !== undefined) throw new UserError(problem);
  const decrypter = new Decrypter();
  for (const line of identityLines(identity)) decrypter.addIdentity(line);
  try {
    return await decrypter.decryptHeader(header);
  } catch (error) {
    if (error instanceof Error && error.message.startsWith("no identity matched")) {
      throw new DamagedArchive(
        subject,
        "wrong-key",
        "is sealed with another key: the age identity in use cannot open it.",
      );
    }
    throw new DamagedArchive(subject, "altered", "was altered: its age header is not valid.");
  }
}
