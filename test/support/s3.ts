import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import S3rver from "s3rver";
import { listen } from "./http.ts";

/** A real S3 server over HTTP on a free port, with one bucket in a folder of its own. */
export interface TestS3 {
  readonly endpoint: string;
  readonly bucket: string;
  /** Credentials it accepts. */
  readonly env: Readonly<Record<string, string>>;
  /** Where the server keeps its files. */
  readonly directory: string;
  /** One entry per request: `PUT /bucket/key?x=y`. */
  readonly requests: string[];
  /** Ids of multipart uploads that were neither completed nor aborted. */
  openUploads(): Promise<string[]>;
  close(): Promise<void>;
}

const BUCKET = "backups";

/**
 * s3rver makes its continuation tokens with plain DES, which OpenSSL 3 no longer has, and answers 500 to every listing
 * of more than one page. Triple DES with three equal keys is the same cipher.
 */
function lendDes(): void {
  const crypto: typeof import("node:crypto") = createRequire(import.meta.url)("node:crypto");
  const { createCipheriv, createDecipheriv } = crypto;
  const triple = (key: Buffer): Buffer => Buffer.concat([key, key, key]);
  Object.assign(crypto, {
    createCipheriv: (name: string, key: Buffer, iv: Buffer, options?: object) =>
      name === "des"
        ? createCipheriv("des-ede3-cbc", triple(key), iv)
        : createCipheriv(name, key, iv, options),
    createDecipheriv: (name: string, key: Buffer, iv: Buffer, options?: object) =>
      name === "des"
        ? createDecipheriv("des-ede3-cbc", triple(key), iv)
        : createDecipheriv(name, key, iv, options),
  });
}

lendDes();

export async function startS3(): Promise<TestS3> {
  const directory = await mkdtemp(join(tmpdir(), "drillbook-s3-"));
  const s3 = new S3rver({
    directory,
    silent: true,
    vhostBuckets: false,
    configureBuckets: [{ name: BUCKET }],
  });
  await s3.configureBuckets();
  const uploads = join(directory, BUCKET, "._S3rver_uploads");
  await mkdir(uploads, { recursive: true });
  const handle = s3.callback();
  const requests: string[] = [];

  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    const id = new URL(request.url ?? "/", "http://s3").searchParams.get("uploadId");
    if (request.method !== "DELETE" || id === null) return void handle(request, response);
    // s3rver does not know AbortMultipartUpload.
    rm(join(uploads, id), { recursive: true, force: true }).then(
      () => response.writeHead(204).end(),
      () => response.writeHead(500).end(),
    );
  });
  const { url, close } = await listen(server);

  return {
    endpoint: url,
    bucket: BUCKET,
    env: { AWS_ACCESS_KEY_ID: "S3RVER", AWS_SECRET_ACCESS_KEY: "S3RVER" },
    directory,
    requests,
    openUploads: () => readdir(uploads),
    async close() {
      await close();
      s3.logger.exceptions.unhandle();
      s3.logger.close();
      await rm(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
    },
  };
}
