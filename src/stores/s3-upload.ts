import { createHash } from "node:crypto";
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { messageOf, ToolError } from "../errors.ts";
import { type Interruptible, interruptible } from "./interruptible.ts";
import { MAX_PARTS, partSizes } from "./part-sizes.ts";
import { type S3Call, s3Code } from "./s3-errors.ts";
import type { S3Link } from "./s3-link.ts";
import { abortedBy, anySignal, whileListening } from "./signals.ts";

const CLEAN_UP_MS = 5_000;

/**
 * Uploads a stream: in one request when it fits into one part, else in parts, several at once. Memory is the parts
 * under way plus the one being filled. An upload that fails or is aborted leaves no object and no parts.
 * Returns the object's size in bytes.
 */
export async function upload(
  link: S3Link,
  key: string,
  body: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
  expectedBytes: number | undefined,
): Promise<number> {
  const source = interruptible(body);
  try {
    return await whileListening(
      signal,
      () => source.interrupt(abortedBy(signal)),
      () => uploadFrom(link, key, source, signal, expectedBytes),
    );
  } finally {
    await source.close();
  }
}

async function uploadFrom(
  link: S3Link,
  key: string,
  source: Interruptible<Uint8Array>,
  signal: AbortSignal,
  expectedBytes: number | undefined,
): Promise<number> {
  const sizes = partSizes(expectedBytes);
  const fill = filler(source);
  const first = takeBuffer(sizes.sizeOf(1));
  const filled = await fill(first);
  if (filled < first.length) {
    await putObject(link, key, first.subarray(0, filled), signal);
    giveBack(first);
    return filled;
  }

  const stop = new AbortController();
  const parts = await startParts(link, key, anySignal(signal, stop.signal));
  try {
    let bytes = filled;
    let number = 1;
    parts.send(number, first, first, (error) => source.interrupt(error));
    for (;;) {
      number += 1;
      if (number > MAX_PARTS) throw tooLarge(link, key);
      const size = sizes.sizeOf(number);
      const buffer = await parts.buffer(size, sizes.parallelOf(size));
      const more = await fill(buffer);
      if (more > 0) parts.send(number, buffer, buffer.subarray(0, more), (error) => source.interrupt(error));
      bytes += more;
      if (more < size) break;
    }
    await parts.complete(bytes);
    return bytes;
  } catch (error) {
    stop.abort();
    await parts.abandon();
    throw error;
  }
}

/**
 * Buffers of finished uploads, for the next ones: many small objects, such as WAL segments, would leave a part's size of
 * garbage each.
 */
const spare: Buffer[] = [];
const MOST_SPARE = 4;

function takeBuffer(bytes: number): Buffer {
  const index = spare.findIndex((buffer) => buffer.length === bytes);
  return spare.splice(index, index < 0 ? 0 : 1)[0] ?? Buffer.allocUnsafeSlow(bytes);
}

function giveBack(buffer: Buffer): void {
  if (spare.length < MOST_SPARE) spare.push(buffer);
}

/** Copies the source into buffers: what a chunk holds may change once the next one is asked for. */
function filler(source: Interruptible<Uint8Array>): (target: Buffer) => Promise<number> {
  let rest: Uint8Array = new Uint8Array();
  let ended = false;
  return async (target) => {
    let filled = 0;
    while (filled < target.length && !ended) {
      if (rest.byteLength === 0) {
        const chunk = await source.next();
        ended = chunk === undefined;
        rest = chunk ?? rest;
        continue;
      }
      const piece = rest.subarray(0, target.length - filled);
      target.set(piece, filled);
      filled += piece.byteLength;
      rest = rest.subarray(piece.byteLength);
    }
    return filled;
  };
}

async function putObject(link: S3Link, key: string, body: Uint8Array, signal: AbortSignal): Promise<void> {
  const call = link.call("s3:PutObject", key);
  const answer = await link.request(call, signal, (options) =>
    link.client.send(
      new PutObjectCommand({ Bucket: link.bucket, Key: link.prefix + key, Body: body }),
      options,
    ),
  );
  confirmed(answer.ETag, call);
}

/** Every S3 store names what it stored; an answer without that came from something else, such as a proxy. */
export function confirmed(etag: string | undefined, call: S3Call): string {
  if (etag !== undefined && etag !== "") return etag;
  throw new ToolError(
    `${call.subject}: the answer to ${call.action} does not confirm what was written; check that the endpoint is an S3 store and no proxy answers for it.`,
  );
}

interface Parts {
  /** A buffer of that size, once fewer than `parallel` parts are under way. Throws the first failure of a part. */
  buffer(bytes: number, parallel: number): Promise<Buffer>;
  /** Starts to upload a part; its buffer is used again afterwards. `onFailure` is called once, at the first failure. */
  send(number: number, buffer: Buffer, part: Buffer, onFailure: (error: unknown) => void): void;
  /** Waits for all parts and makes the object of them. */
  complete(bytes: number): Promise<void>;
  /** Waits for what is under way and removes what was uploaded, on a signal of its own. */
  abandon(): Promise<void>;
}

async function startParts(link: S3Link, key: string, signal: AbortSignal): Promise<Parts> {
  const { client } = link;
  const call = link.call("s3:PutObject", key);
  const object = { Bucket: link.bucket, Key: link.prefix + key };
  const started = await link.request(call, signal, (options) =>
    client.send(new CreateMultipartUploadCommand(object), options),
  );
  const uploadId = started.UploadId;
  if (uploadId === undefined || uploadId === "") confirmed(undefined, call);
  const target = { ...object, UploadId: uploadId };

  const done: CompletedPart[] = [];
  const running = new Set<Promise<void>>();
  let failure: { readonly error: unknown } | undefined;

  async function sendPart(number: number, part: Buffer): Promise<void> {
    const answer = await link.request(call, signal, (options) =>
      client.send(new UploadPartCommand({ ...target, PartNumber: number, Body: part }), options),
    );
    const { ChecksumCRC32, ChecksumCRC32C, ChecksumCRC64NVME, ChecksumSHA1, ChecksumSHA256 } = answer;
    const checksums = { ChecksumCRC32, ChecksumCRC32C, ChecksumCRC64NVME, ChecksumSHA1, ChecksumSHA256 };
    done.push({ PartNumber: number, ETag: confirmed(answer.ETag, call), ...checksums });
  }

  function throwFailure(): void {
    if (failure !== undefined) throw failure.error;
  }

  return {
    async buffer(bytes, parallel) {
      while (running.size >= parallel) await Promise.race(running);
      throwFailure();
      return takeBuffer(bytes);
    },
    send(number, buffer, part, onFailure) {
      const sending = sendPart(number, part)
        .then(
          () => giveBack(buffer),
          (error: unknown) => {
            if (failure !== undefined) return;
            failure = { error };
            onFailure(error);
          },
        )
        .finally(() => running.delete(sending));
      running.add(sending);
    },
    async complete(bytes) {
      await Promise.all(running);
      throwFailure();
      done.sort((a, b) => (a.PartNumber ?? 0) - (b.PartNumber ?? 0));
      await completeUpload(link, key, target, done, bytes, signal);
    },
    async abandon() {
      await Promise.all(running);
      const fresh = AbortSignal.timeout(CLEAN_UP_MS);
      try {
        await link.attempt(fresh, (options) => client.send(new AbortMultipartUploadCommand(target), options));
      } catch (error) {
        if (s3Code(error) === "NoSuchUpload") return;
        link.log.warning(
          `The parts of the unfinished upload of ${call.subject} could not be removed (${messageOf(error)}); a lifecycle rule that aborts incomplete multipart uploads removes them.`,
        );
      }
    },
  };
}

async function completeUpload(
  link: S3Link,
  key: string,
  target: { Bucket: string; Key: string; UploadId: string | undefined },
  parts: CompletedPart[],
  bytes: number,
  signal: AbortSignal,
): Promise<void> {
  const call = link.call("s3:PutObject", key);
  try {
    const answer = await link.attempt(signal, (options) =>
      link.client.send(
        new CompleteMultipartUploadCommand({ ...target, MultipartUpload: { Parts: parts } }),
        options,
      ),
    );
    confirmed(answer.ETag, call);
  } catch (error) {
    // The answer to an attempt that succeeded may have been lost: the next one then finds no upload any more.
    if (s3Code(error) === "NoSuchUpload" && (await isThere(link, target, parts, bytes, signal))) return;
    throw link.explain(error, call);
  }
}

/** Whether the object is the one these parts make: its ETag is the MD5 of their MD5s where the store counts so. */
async function isThere(
  link: S3Link,
  target: { Bucket: string; Key: string },
  parts: readonly CompletedPart[],
  bytes: number,
  signal: AbortSignal,
): Promise<boolean> {
  const digests = parts.map((part) => Buffer.from((part.ETag ?? "").replaceAll('"', ""), "hex"));
  const etag = `${createHash("md5").update(Buffer.concat(digests)).digest("hex")}-${parts.length}`;
  try {
    const { Bucket, Key } = target;
    const head = await link.attempt(signal, (options) =>
      link.client.send(new HeadObjectCommand({ Bucket, Key }), options),
    );
    return head.ContentLength === bytes && head.ETag?.replaceAll('"', "") === etag;
  } catch {
    return false;
  }
}

function tooLarge(link: S3Link, key: string): ToolError {
  return new ToolError(
    `${link.describe(key)} is larger than an S3 upload of ${MAX_PARTS} parts can be: split it, for example by tablespaces.`,
  );
}
