import { HeadBucketCommand, HeadObjectCommand } from "@aws-sdk/client-s3";
import type { Context } from "../context.ts";
import { ToolError } from "../errors.ts";
import { parseDuration } from "../values.ts";
import type { S3StoreConfig } from "./config.ts";
import { checkKey } from "./keys.ts";
import { endpointOf, isAws, S3_TUNING, type S3Tuning } from "./s3-client.ts";
import { conditionalCreate } from "./s3-create.ts";
import { batchDelete } from "./s3-delete.ts";
import { download, explainDenied } from "./s3-download.ts";
import { statusOf } from "./s3-errors.ts";
import { openLink, type S3Link } from "./s3-link.ts";
import { listObjects } from "./s3-list.ts";
import { abortUploads } from "./s3-unfinished.ts";
import { upload } from "./s3-upload.ts";
import { anySignal } from "./signals.ts";
import { type GetOptions, type ObjectInfo, ObjectMissing, type Store } from "./store.ts";

/**
 * A store in an S3 bucket. Credentials come from `context.env` (AWS_ACCESS_KEY_ID …) or, without them there, from the
 * default chain of the AWS SDK (profile, web identity, container, instance). Throws a UserError when there are none.
 */
export async function openS3Store(
  config: S3StoreConfig,
  name: string,
  context: Context,
  defaults: S3Tuning = S3_TUNING,
): Promise<Store> {
  const tuning = tunedBy(config, defaults);
  const endpoint = endpointOf(config, name, context.env);
  const link = await openLink(config, name, context, tuning);
  const remove = batchDelete(link, !isAws(endpoint));
  const until = (signal?: AbortSignal): AbortSignal => signal ?? context.signal;
  const lookUp = lookUpIn(link);

  async function get(key: string, options: GetOptions = {}): Promise<AsyncIterable<Uint8Array>> {
    checkKey(key);
    const signal = until(options.signal);
    const { offset, length } = options.range ?? { offset: 0, length: undefined };
    if (length !== 0) return download(link, key, { offset, length }, signal);
    // HTTP has no range of no bytes.
    if ((await lookUp(key, signal)) === undefined) throw new ObjectMissing(link.describe(key));
    return nothing();
  }

  async function stat(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    checkKey(key);
    return lookUp(key, until(signal));
  }

  const create = conditionalCreate(link, endpoint, { get, stat });

  return {
    describe: (key) => link.describe(key),
    async put(key, body, options = {}) {
      checkKey(key);
      return upload(link, key, body, until(options.signal), options.expectedBytes);
    },
    async create(key, body, signal) {
      checkKey(key);
      return create(key, body, until(signal));
    },
    get,
    list: (prefix, signal) => listObjects(link, prefix, until(signal)),
    stat,
    async delete(keys, signal) {
      for (const key of keys) checkKey(key);
      await remove(keys, until(signal));
    },
    removeUnfinished: (prefix, before, signal) => abortUploads(link, prefix, before, until(signal)),
    close: () => link.client.destroy(),
  };
}

function tunedBy({ retry }: S3StoreConfig, tuning: S3Tuning): S3Tuning {
  const seconds = retry === undefined ? undefined : parseDuration(retry.within);
  return seconds === undefined ? tuning : { ...tuning, retry: { ...tuning.retry, withinMs: seconds * 1000 } };
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

type LookUp = (key: string, signal: AbortSignal) => Promise<ObjectInfo | undefined>;

function lookUpIn(link: S3Link): LookUp {
  let bucketSeen = false;

  /** The answer to HEAD has no body, so 404 can also mean that the bucket does not exist. */
  async function checkBucket(signal: AbortSignal): Promise<void> {
    if (bucketSeen) return;
    try {
      await link.attempt(signal, (options) =>
        link.client.send(new HeadBucketCommand({ Bucket: link.bucket }), options),
      );
    } catch (error) {
      const call = { action: "s3:ListBucket", subject: link.describe("") };
      if (statusOf(error) === 404) {
        throw link.explain(Object.assign(new Error("NoSuchBucket"), { name: "NoSuchBucket" }), call);
      }
      // A bucket that may not be looked at is there.
      if (statusOf(error) !== 403) throw link.explain(error, call);
    }
    bucketSeen = true;
  }

  /** HEAD says only the number; the same request as GET says why. */
  async function reasonFor(key: string, error: unknown, signal: AbortSignal): Promise<unknown> {
    const stop = new AbortController();
    try {
      await download(link, key, { offset: 0, length: undefined }, anySignal(signal, stop.signal));
    } catch (reason) {
      if (!(reason instanceof ObjectMissing)) return reason;
    } finally {
      stop.abort();
    }
    return explainDenied(link, key, "s3:GetObject", error);
  }

  return async (key, signal) => {
    try {
      const head = await link.attempt(signal, (options) =>
        link.client.send(new HeadObjectCommand({ Bucket: link.bucket, Key: link.prefix + key }), options),
      );
      bucketSeen = true;
      if (head.ContentLength === undefined || head.LastModified === undefined) {
        throw new ToolError(
          `${link.describe(key)}: the store does not say its size and date; check the endpoint.`,
        );
      }
      return { key, bytes: head.ContentLength, modified: head.LastModified };
    } catch (error) {
      const status = statusOf(error);
      if (status === 404) {
        await checkBucket(signal);
        return undefined;
      }
      if (status === 400 || status === 403) throw await reasonFor(key, error, signal);
      throw link.explain(error, link.call("s3:GetObject", key));
    }
  };
}
