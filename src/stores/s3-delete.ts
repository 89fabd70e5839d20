import { createHash } from "node:crypto";
import { DeleteObjectCommand, DeleteObjectsCommand, type S3Client } from "@aws-sdk/client-s3";
import { messageOf, ToolError } from "../errors.ts";
import { type S3Call, s3Code, statusOf } from "./s3-errors.ts";
import type { S3Link } from "./s3-link.ts";
import { DeletionRefused } from "./store.ts";

const BATCH = 1_000;
const SINGLE_PARALLEL = 4;
/** What stores answer that do not know DeleteObjects or want it otherwise. */
const NO_BATCHES = new Set([
  "NotImplemented",
  "MethodNotAllowed",
  "MalformedXML",
  "InvalidDigest",
  "MissingContentMD5",
]);

/**
 * Objects under a lock answer AccessDenied in Amazon S3, MinIO and others, a code that names the lock (R2), or
 * InvalidRequest with a message about WORM.
 */
function isRefused(error: unknown): boolean {
  const said = `${s3Code(error)} ${messageOf(error)}`;
  return s3Code(error) === "AccessDenied" || /\b(?:worm|object ?lock|locked|retention|immutable)/i.test(said);
}

/** Deletes by batches, or one by one on a store that takes no batches. Keys that do not exist are fine. */
export function batchDelete(
  link: S3Link,
  contentMd5: boolean,
): (keys: readonly string[], signal: AbortSignal) => Promise<void> {
  let batches = true;
  if (contentMd5) sendContentMd5(link.client);

  function explain(error: unknown, call: S3Call): Error {
    const explained = link.explain(error, call);
    if (!(explained instanceof ToolError) || !isRefused(error)) return explained;
    return new DeletionRefused(explained.message, { cause: error });
  }

  /** False when the store takes no batches. */
  async function deleteBatch(keys: readonly string[], signal: AbortSignal): Promise<boolean> {
    const call = link.call("s3:DeleteObject", keys[0] ?? "");
    const Objects = keys.map((key) => ({ Key: link.prefix + key }));
    try {
      const answer = await link.attempt(signal, (options) =>
        link.client.send(
          new DeleteObjectsCommand({ Bucket: link.bucket, Delete: { Objects, Quiet: true } }),
          options,
        ),
      );
      const failed = answer.Errors?.find((error) => error.Code !== "NoSuchKey");
      if (failed === undefined) return true;
      const subject = `s3://${link.bucket}/${failed.Key ?? ""}`;
      const error = Object.assign(new Error(failed.Message), {
        name: failed.Code,
        $metadata: answer.$metadata,
      });
      throw explain(error, { ...call, subject });
    } catch (error) {
      if (!(error instanceof ToolError) && (NO_BATCHES.has(s3Code(error)) || statusOf(error) === 501))
        return false;
      throw explain(error, call);
    }
  }

  async function deleteOne(key: string, signal: AbortSignal): Promise<void> {
    try {
      await link.attempt(signal, (options) =>
        link.client.send(new DeleteObjectCommand({ Bucket: link.bucket, Key: link.prefix + key }), options),
      );
    } catch (error) {
      if (s3Code(error) !== "NoSuchKey") throw explain(error, link.call("s3:DeleteObject", key));
    }
  }

  return async (keys, signal) => {
    for (let from = 0; from < keys.length; from += BATCH) {
      const batch = keys.slice(from, from + BATCH);
      if (batches) batches = await deleteBatch(batch, signal);
      if (batches) continue;
      for (let at = 0; at < batch.length; at += SINGLE_PARALLEL) {
        await Promise.all(batch.slice(at, at + SINGLE_PARALLEL).map((key) => deleteOne(key, signal)));
      }
    }
  };
}

/** DeleteObjects must carry a checksum. Stores other than Amazon S3 often know only the oldest kind, Content-MD5. */
function sendContentMd5(client: S3Client): void {
  client.middlewareStack.add(
    (next, context) => async (args) => {
      if (context.commandName === "DeleteObjectsCommand" && hasHeaders(args.request)) {
        const { headers, body } = args.request;
        for (const name of Object.keys(headers)) {
          if (/^x-amz-(checksum-|sdk-checksum-|trailer)/i.test(name)) delete headers[name];
        }
        headers["content-md5"] = createHash("md5").update(body).digest("base64");
      }
      return next(args);
    },
    { step: "build", priority: "low", name: "contentMd5ForDeleteObjects" },
  );
}

function hasHeaders(
  request: unknown,
): request is { headers: Record<string, string>; body: string | Uint8Array } {
  if (typeof request !== "object" || request === null || !("headers" in request) || !("body" in request)) {
    return false;
  }
  return typeof request.body === "string" || request.body instanceof Uint8Array;
}
