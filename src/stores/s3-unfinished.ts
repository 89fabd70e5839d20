import {
  AbortMultipartUploadCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
} from "@aws-sdk/client-s3";
import { messageOf } from "../errors.ts";
import { checkPrefix } from "./keys.ts";
import { s3Code } from "./s3-errors.ts";
import type { S3Link } from "./s3-link.ts";
import { throwIfAborted } from "./signals.ts";

/**
 * Aborts the multipart uploads below a prefix that were begun before that moment: their parts take space and are shown by
 * no listing. A store that does not tell of uploads, or not to these credentials, is no failure. Returns how many.
 */
export async function abortUploads(
  link: S3Link,
  prefix: string,
  before: Date,
  signal: AbortSignal,
): Promise<number> {
  checkPrefix(prefix);
  try {
    let aborted = 0;
    for (const { Key, UploadId } of await oldUploads(link, link.prefix + prefix, before, signal)) {
      const target = { Bucket: link.bucket, Key, UploadId };
      try {
        await link.attempt(signal, (options) =>
          link.client.send(new AbortMultipartUploadCommand(target), options),
        );
        aborted += 1;
      } catch (error) {
        if (s3Code(error) !== "NoSuchUpload") throw error;
      }
    }
    return aborted;
  } catch (error) {
    throwIfAborted(signal);
    const why = messageOf(link.explain(error, link.call("s3:ListBucketMultipartUploads", prefix)));
    link.log.debug(
      `Uploads that were never completed were not looked for; a lifecycle rule that aborts incomplete multipart uploads removes them too. ${why}`,
    );
    return 0;
  }
}

interface Upload {
  readonly Key: string;
  readonly UploadId: string;
}

interface Marker {
  readonly KeyMarker?: string | undefined;
  readonly UploadIdMarker?: string | undefined;
}

async function oldUploads(
  link: S3Link,
  prefix: string,
  before: Date,
  signal: AbortSignal,
): Promise<readonly Upload[]> {
  const found: Upload[] = [];
  let marker: Marker | undefined = {};
  while (marker !== undefined) {
    const request = new ListMultipartUploadsCommand({ Bucket: link.bucket, Prefix: prefix, ...marker });
    const page: ListMultipartUploadsCommandOutput = await link.attempt(signal, (options) =>
      link.client.send(request, options),
    );
    for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
      // Some stores do not look at the prefix.
      if (Key?.startsWith(prefix) && UploadId && Initiated && Initiated < before)
        found.push({ Key, UploadId });
    }
    const more = page.IsTruncated === true && page.NextKeyMarker !== undefined;
    marker = more ? { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker } : undefined;
  }
  return found;
}
