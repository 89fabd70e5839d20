import { ListObjectsV2Command } from "@aws-sdk/client-s3";
import { ToolError } from "../errors.ts";
import { checkPrefix, compareKeys } from "./keys.ts";
import type { S3Link } from "./s3-link.ts";
import type { ObjectInfo } from "./store.ts";

/** All objects below the store's prefix whose key starts with `prefix`, page by page. */
export async function* listObjects(
  link: S3Link,
  prefix: string,
  signal: AbortSignal,
): AsyncGenerator<ObjectInfo> {
  const call = { action: "s3:ListBucket", subject: link.describe(checkPrefix(prefix)) };
  let token: string | undefined;
  let last: string | undefined;
  do {
    const page = await link.request(call, signal, (options) =>
      link.client.send(
        new ListObjectsV2Command({
          Bucket: link.bucket,
          Prefix: link.prefix + prefix,
          ...(token === undefined ? {} : { ContinuationToken: token }),
        }),
        options,
      ),
    );
    const infos = (page.Contents ?? []).flatMap(({ Key, Size, LastModified }) => {
      if (Key === undefined || Size === undefined || LastModified === undefined) {
        throw new ToolError(
          `${call.subject}: the store's listing is not complete; check that the endpoint is an S3 store.`,
        );
      }
      // Consoles make "folders" as empty objects whose key ends with a slash.
      if (Key.endsWith("/")) return [];
      return [{ key: Key.slice(link.prefix.length), bytes: Size, modified: LastModified }];
    });
    infos.sort((a, b) => compareKeys(a.key, b.key));
    for (const info of infos) {
      if (last !== undefined && compareKeys(info.key, last) <= 0) throw disordered(call.subject);
      last = info.key;
      yield info;
    }
    token = page.NextContinuationToken;
    if (page.IsTruncated === true && (token === undefined || token === "")) {
      throw new ToolError(
        `${call.subject}: the store's listing breaks off; check that the endpoint is an S3 store.`,
      );
    }
    if (page.IsTruncated !== true) token = undefined;
  } while (token !== undefined);
}

function disordered(subject: string): ToolError {
  return new ToolError(
    `${subject}: the store does not list keys in order, as directory buckets (S3 Express) do; use a general purpose bucket.`,
  );
}
