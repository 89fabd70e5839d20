import { ToolError } from "../errors.ts";

/** Collects a body of a known length in one buffer; a body that is shorter or longer is a ToolError. */
export async function readExactly(
  body: AsyncIterable<Uint8Array>,
  length: number,
  subject: string,
): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(length);
  let filled = 0;
  for await (const chunk of body) {
    if (filled + chunk.byteLength > length) throw unexpected(subject, `more than ${length}`, length);
    buffer.set(chunk, filled);
    filled += chunk.byteLength;
  }
  if (filled !== length) throw unexpected(subject, String(filled), length);
  return buffer;
}

function unexpected(subject: string, got: string, length: number): ToolError {
  return new ToolError(`Reading ${subject} gave ${got} bytes where ${length} were asked for: try again.`);
}
