import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { GetObjectCommand } from "@aws-sdk/client-s3";
import { codeOf, DefectError, messageOf, ToolError } from "../errors.ts";
import { nextPause } from "./retry.ts";
import { s3Code, statusOf } from "./s3-errors.ts";
import type { S3Link } from "./s3-link.ts";
import { abortedBy, sleep } from "./signals.ts";
import { GarbledRead, ObjectMissing, readAll } from "./store.ts";

interface Span {
  readonly offset: number;
  /** Undefined: to the end. */
  readonly length: number | undefined;
}

interface Opened {
  readonly body: Readable;
  /** Bytes that this body must deliver. */
  readonly length: number;
  readonly etag: string | undefined;
}

/**
 * Streams an object or a range of it. A body that breaks off or comes up short is asked for again from the byte that
 * was delivered last; the ETag guards against another object having taken the key in between.
 */
export async function download(
  link: S3Link,
  key: string,
  span: Span,
  signal: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  const opened = await openBody(link, key, span, signal, undefined);
  if (span.length === undefined && opened.length <= SMALL_BYTES) return settle(link, key, opened, signal);
  return deliver(link, key, span.offset, opened, signal);
}

/** Documents, of which nothing else records a digest. */
const SMALL_BYTES = 2 ** 20;
const READINGS = 8;

/**
 * A small object, read until its bytes are certain: they match its ETag, which is their MD5 on most stores, or two readings
 * agree. Where the SDK compares the checksum that the store keeps, it needs no more than that.
 */
async function* settle(
  link: S3Link,
  key: string,
  first: Opened,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const compared = (await link.client.config.responseChecksumValidation()) === "WHEN_SUPPORTED";
  const span = { offset: 0, length: undefined };
  let before: Buffer | undefined;
  for (let reading = 1, opened = first; ; reading += 1) {
    try {
      const bytes = await readAll(deliver(link, key, 0, opened, signal));
      if (compared || isMd5(opened.etag, bytes) || before?.equals(bytes)) {
        yield bytes;
        return;
      }
      before = bytes;
      if (reading === READINGS) throw new GarbledRead(link.describe(key));
    } catch (error) {
      if (!(error instanceof GarbledRead) || reading === READINGS) throw error;
    }
    opened = await openBody(link, key, span, signal, undefined);
  }
}

function isMd5(etag: string | undefined, bytes: Buffer): boolean {
  return etag?.replaceAll('"', "") === createHash("md5").update(bytes).digest("hex");
}

async function* deliver(
  link: S3Link,
  key: string,
  offset: number,
  first: Opened,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const total = first.length;
  let opened = first;
  let delivered = 0;
  let failures = 0;
  /** When something arrived last, or was asked for first. */
  let progress = performance.now();
  for (;;) {
    let broken: unknown;
    try {
      for await (const chunk of opened.body) {
        const received = asBytes(chunk);
        const wanted = received.subarray(0, total - delivered);
        delivered += wanted.byteLength;
        failures = 0;
        progress = performance.now();
        if (wanted.byteLength > 0) yield wanted;
        // Only a body that is too long is cut off: one that may end by itself leaves its connection for the next request.
        if (wanted.byteLength < received.byteLength) break;
      }
    } catch (error) {
      broken = error;
    } finally {
      opened.body.destroy();
    }
    if (signal.aborted) throw abortedBy(signal);
    if (broken instanceof Error && codeOf(broken) === undefined && /checksum/i.test(broken.message)) {
      throw new GarbledRead(link.describe(key), { cause: broken });
    }
    if (delivered === total) return;

    failures += 1;
    const said = `the body ended after ${delivered} of ${total} bytes`;
    const pause = nextPause(link.tuning.retry, failures, performance.now() - progress);
    if (pause === undefined) {
      throw new ToolError(
        `Reading ${link.describe(key)} failed: ${said}; check the network and proxy, then try again.`,
        {
          cause: broken,
        },
      );
    }
    const why = broken === undefined ? said : messageOf(broken);
    link.log.debug(`Reading ${link.describe(key)} again from byte ${offset + delivered}: ${why}`);
    await sleep(pause, signal);
    const rest = { offset: offset + delivered, length: total - delivered };
    opened = await openBody(link, key, rest, signal, first.etag);
  }
}

function asBytes(chunk: unknown): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk;
  throw new TypeError("An S3 body gave something else than bytes.");
}

async function openBody(
  link: S3Link,
  key: string,
  span: Span,
  signal: AbortSignal,
  etag: string | undefined,
): Promise<Opened> {
  const call = link.call("s3:GetObject", key);
  const ranged = span.length !== undefined;
  const command = {
    Bucket: link.bucket,
    Key: link.prefix + key,
    ...(ranged ? { Range: `bytes=${span.offset}-${span.offset + (span.length ?? 0) - 1}` } : {}),
    ...(etag === undefined ? {} : { IfMatch: etag }),
  };
  try {
    const answer = await link.attempt(signal, (options) =>
      link.client.send(new GetObjectCommand(command), options),
    );
    const body = answer.Body;
    if (!(body instanceof Readable))
      throw new ToolError(`${call.subject}: the store answered without a body.`);
    try {
      const length = announced(link, key, span, answer.ContentLength, answer.ContentRange);
      return { body, length, etag: answer.ETag };
    } catch (error) {
      body.destroy();
      throw error;
    }
  } catch (error) {
    throw explainGet(link, key, span, error);
  }
}

/** How many bytes the body must deliver. The answer may hold more than was asked for, but never start elsewhere. */
function announced(
  link: S3Link,
  key: string,
  span: Span,
  contentLength: number | undefined,
  contentRange: string | undefined,
): number {
  const subject = link.describe(key);
  if (span.length === undefined) {
    if (contentLength === undefined)
      throw new ToolError(`${subject}: the store does not say how long it is.`);
    return contentLength;
  }
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(contentRange ?? "");
  const start = match === null ? 0 : Number(match[1]);
  const end = match === null ? (contentLength ?? 0) : Number(match[2]) + 1;
  if (start !== span.offset) {
    throw new ToolError(
      `${subject}: the store did not answer with the range that was asked for; check the endpoint.`,
    );
  }
  if (end >= span.offset + span.length) return span.length;
  throw tooShort(subject, Number(match?.[3] ?? end), span);
}

function explainGet(link: S3Link, key: string, span: Span, error: unknown): Error {
  const subject = link.describe(key);
  const code = s3Code(error);
  if (code === "NoSuchKey") return new ObjectMissing(subject);
  if (code === "InvalidRange" || statusOf(error) === 416) return tooShort(subject, undefined, span);
  if (code === "PreconditionFailed" || statusOf(error) === 412) {
    return new ToolError(`${subject} was replaced while it was read: run this again.`, { cause: error });
  }
  return explainDenied(link, key, "s3:GetObject", error);
}

/** To credentials that may not list, S3 answers 403 for what does not exist: neither its absence nor its presence is proven. */
export function explainDenied(link: S3Link, key: string, action: string, error: unknown): Error {
  if (
    statusOf(error) === 403 &&
    ["AccessDenied", "Forbidden", "403", "Unknown", "UnknownError"].includes(s3Code(error))
  ) {
    return new ToolError(
      `${link.describe(key)}: access denied; the credentials need ${action} on it, and s3:ListBucket on ${link.bucket}, without which S3 gives the same answer for an object that does not exist.`,
      { cause: error },
    );
  }
  return link.explain(error, link.call(action, key));
}

function tooShort(subject: string, bytes: number | undefined, span: Span): DefectError {
  const size = bytes === undefined || Number.isNaN(bytes) ? "" : ` has ${bytes} bytes and`;
  const wanted = span.offset + (span.length ?? 0);
  return new DefectError(
    subject,
    `${subject}${size} ends before byte ${wanted}: it was truncated or replaced.`,
  );
}
