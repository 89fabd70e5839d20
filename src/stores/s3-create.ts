import { PutObjectCommand } from "@aws-sdk/client-s3";
import { messageOf } from "../errors.ts";
import { isAws } from "./s3-client.ts";
import { s3Code, statusOf } from "./s3-errors.ts";
import type { S3Link } from "./s3-link.ts";
import { confirmed } from "./s3-upload.ts";
import { type ObjectInfo, ObjectMissing, readAll, type Store } from "./store.ts";

type Reader = Pick<Store, "get" | "stat">;
type Outcome = "created" | "taken" | "unsupported";

/**
 * Writes objects only where the key is free, with `If-None-Match: *`.
 *
 * Some stores ignore that header and overwrite. So the first object that this run creates on a store other than
 * Amazon S3 is written a second time, with the same bytes and the same header: a store that honours it refuses, one
 * that does not accepts, with nothing changed. Until that is known, and on a store that ignores the header, the key is
 * looked up first; between the look and the write two processes can then both believe that they won.
 */
export function conditionalCreate(
  link: S3Link,
  endpoint: URL | undefined,
  reader: Reader,
): (key: string, body: Uint8Array, signal: AbortSignal) => Promise<boolean> {
  let honoured: boolean | undefined = isAws(endpoint) ? true : undefined;
  let warned = false;

  function warn(): void {
    if (warned || honoured !== false) return;
    warned = true;
    link.log.warning(
      `Store ${link.name}: it does not honour If-None-Match, so of two runs that begin at the same moment it cannot stop one; the second is noticed within half a minute. Start the runs of a component at different times, or in one concurrency group.`,
    );
  }

  async function write(
    key: string,
    body: Uint8Array,
    signal: AbortSignal,
    ifAbsent: boolean,
  ): Promise<Outcome> {
    const call = link.call("s3:PutObject", key);
    let attempts = 0;
    try {
      const answer = await link.attempt(signal, (options) => {
        attempts += 1;
        return link.client.send(
          new PutObjectCommand({
            Bucket: link.bucket,
            Key: link.prefix + key,
            Body: body,
            ...(ifAbsent ? { IfNoneMatch: "*" } : {}),
          }),
          options,
        );
      });
      confirmed(answer.ETag, call);
      return "created";
    } catch (error) {
      const refused = ifAbsent && (statusOf(error) === 412 || s3Code(error) === "PreconditionFailed");
      // The answer to an earlier attempt may have been lost, and what is there now is ours.
      if (refused) return attempts > 1 && (await holds(key, body, signal)) ? "created" : "taken";
      if (ifAbsent && (statusOf(error) === 501 || s3Code(error) === "NotImplemented")) return "unsupported";
      throw link.explain(error, call);
    }
  }

  async function holds(key: string, body: Uint8Array, signal: AbortSignal): Promise<boolean> {
    try {
      const there = await readAll(await reader.get(key, { signal }));
      return there.equals(body);
    } catch (error) {
      if (error instanceof ObjectMissing) return false;
      throw error;
    }
  }

  async function probe(key: string, body: Uint8Array, signal: AbortSignal): Promise<boolean> {
    return (await write(key, body, signal, true)) === "taken";
  }

  return async (key, body, signal) => {
    if (honoured !== true) {
      const there: ObjectInfo | undefined = await reader.stat(key, signal);
      if (there !== undefined) return false;
    }
    const outcome = await write(key, body, signal, honoured !== false);
    if (outcome === "unsupported") {
      honoured = false;
      warn();
      await write(key, body, signal, false);
      return true;
    }
    if (outcome === "taken") {
      honoured = true;
      return false;
    }
    if (honoured === undefined) {
      try {
        honoured = await probe(key, body, signal);
        warn();
      } catch (error) {
        // The object is written; that the store is not known better only costs a look-up the next time.
        link.log.debug(`Could not tell whether the store honours If-None-Match: ${messageOf(error)}`);
      }
    }
    return true;
  };
}
