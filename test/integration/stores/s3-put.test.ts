import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { ToolError } from "../../../src/errors.ts";
import type { Store } from "../../../src/stores/store.ts";
import { digest, noise, once } from "../../support/bytes.ts";
import type { TestContext } from "../../support/context.ts";
import { answerS3Error, forward, type TroubledProxy } from "../../support/http.ts";
import type { TestS3 } from "../../support/s3.ts";
import { IMPATIENT, type S3World, startS3World } from "../../support/s3-world.ts";

const MIB = 2 ** 20;
let world: S3World;
let s3: TestS3;
let proxy: TroubledProxy;
let context: TestContext;
let store: Store;

beforeAll(async () => {
  world = await startS3World();
  ({ s3, proxy } = world);
});
afterAll(() => world.close());
beforeEach(async () => {
  ({ store, context } = await world.open());
});
afterEach(async () => {
  proxy.trouble = undefined;
  for await (const info of store.list("")) await store.delete([info.key]);
  await world.reset();
});

const isPart = (request: IncomingMessage): boolean => /partNumber=/.test(request.url ?? "");
const isComplete = (request: IncomingMessage): boolean =>
  request.method === "POST" && /[?&]uploadId=/.test(request.url ?? "");

async function expectWhole(key: string, bytes: number): Promise<void> {
  expect(await digest(await store.get(key))).toEqual(await digest(noise(bytes)));
}

describe("a multipart upload", () => {
  test("tries a part again after 503, not before the time that Retry-After names", async () => {
    let refused = 0;
    proxy.trouble = (request, response) => {
      if (!isPart(request) || refused > 0) return false;
      refused += 1;
      request.resume();
      return answerS3Error(response, 503, "SlowDown", { headers: { "retry-after": "1" } });
    };
    expect(await store.put("big", noise(20 * MIB))).toBe(20 * MIB);
    expect(refused).toBe(1);
    const pauses = context.lines.flatMap((line) => /trying again in (\d+) ms/.exec(line)?.[1] ?? []);
    expect(pauses.length).toBe(1);
    expect(Number(pauses[0])).toBeGreaterThanOrEqual(1000);
    await expectWhole("big", 20 * MIB);
  });

  test("sends a part again, whole, when its connection is reset in the middle", async () => {
    let resets = 0;
    proxy.trouble = (request) => {
      if (!isPart(request) || resets >= 3) return false;
      resets += 1;
      request.once("data", () => request.socket.resetAndDestroy());
      return true;
    };
    await store.put("big", noise(20 * MIB));
    expect(resets).toBe(3);
    await expectWhole("big", 20 * MIB);
  });

  test("gives a part up that nobody answers, and sends it again", async () => {
    let ignored = 0;
    proxy.trouble = (request) => {
      if (!isPart(request) || ignored > 0) return false;
      ignored += 1;
      request.resume();
      return true;
    };
    const { store: impatient } = await world.open({ tuning: IMPATIENT });
    await impatient.put("big", noise(20 * MIB));
    expect(ignored).toBe(1);
    await expectWhole("big", 20 * MIB);
  });

  test("fails with a sentence and leaves neither object nor parts when a part never gets through", async () => {
    let freed = false;
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield* noise(4 * MIB);
      } finally {
        freed = true;
      }
    }
    proxy.trouble = (request, response) => {
      if (!/partNumber=2/.test(request.url ?? "")) return false;
      request.resume();
      return answerS3Error(response, 500, "InternalError");
    };
    const putting = store.put("big", endless());
    await expect(putting).rejects.toThrow(ToolError);
    await expect(putting).rejects.toThrow(/^s3:\/\/backups\/shop\/big: .* keeps answering 500/);
    expect(freed).toBe(true);
    proxy.trouble = undefined;
    expect(await store.stat("big")).toBeUndefined();
    expect(await s3.openUploads()).toEqual([]);
  });

  test("fails at once when a part fails while the source hangs", async () => {
    async function* hanging(): AsyncGenerator<Uint8Array> {
      yield* noise(12 * MIB);
      await new Promise(() => undefined);
    }
    proxy.trouble = (request, response) => {
      if (!isPart(request)) return false;
      request.resume();
      return answerS3Error(response, 403, "AccessDenied");
    };
    await expect(store.put("big", hanging())).rejects.toThrow(/need s3:PutObject/);
    expect(await s3.openUploads()).toEqual([]);
  });

  test("says so when the parts of a failed upload could not be removed", async () => {
    proxy.trouble = (request, response) => {
      if (!isPart(request) && request.method !== "DELETE") return false;
      request.resume();
      return answerS3Error(response, 403, "AccessDenied");
    };
    await expect(store.put("big", noise(20 * MIB))).rejects.toThrow(ToolError);
    expect(context.lines.join("\n")).toMatch(
      /warning: The parts of the unfinished upload of s3:\/\/backups\/shop\/big/,
    );
    proxy.trouble = undefined;
    const [id] = await s3.openUploads();
    await fetch(`${s3.endpoint}/${s3.bucket}/shop/big?uploadId=${id}`, { method: "DELETE" });
  });

  test("does not take an error in an answer of status 200 for success", async () => {
    proxy.trouble = (request, response) => {
      if (!isComplete(request)) return false;
      request.resume();
      return answerS3Error(response, 200, "InternalError");
    };
    await expect(store.put("big", noise(20 * MIB))).rejects.toThrow(ToolError);
    proxy.trouble = undefined;
    expect(await store.stat("big")).toBeUndefined();
    expect(await s3.openUploads()).toEqual([]);
  });

  test("counts as done when only the answer to its completion was lost", async () => {
    const etags: string[] = [];
    let lost = 0;
    proxy.trouble = (request, response) => loseCompletion(request, response, etags, () => (lost += 1));
    await store.put("big", noise(20 * MIB));
    expect(lost).toBe(2);
    await expectWhole("big", 20 * MIB);
  });

  test("fails when its completion was lost and the object there is another one", async () => {
    const wrong: string[] = [];
    await store.put("big", noise(20 * MIB));
    proxy.trouble = (request, response) => {
      if (!isComplete(request)) return loseCompletion(request, response, wrong, () => 0);
      request.resume();
      return answerS3Error(response, 404, "NoSuchUpload");
    };
    await expect(store.put("big", noise(19 * MIB))).rejects.toThrow(
      /ended the upload before it was complete/,
    );
  });

  test("holds a few parts in memory, however large the object, and sends several at once", async () => {
    let underWay = 0;
    let most = 0;
    proxy.trouble = (request, response) => {
      if (!isPart(request)) return false;
      underWay += 1;
      most = Math.max(most, underWay);
      response.once("close", () => (underWay -= 1));
      return false;
    };
    const bytes = 136 * MIB;
    let peak = 0;
    async function* watched(): AsyncGenerator<Uint8Array> {
      const before = process.memoryUsage().arrayBuffers;
      for await (const chunk of noise(bytes)) {
        yield chunk;
        peak = Math.max(peak, process.memoryUsage().arrayBuffers - before);
      }
    }
    expect(await store.put("big", watched(), { expectedBytes: bytes })).toBe(bytes);
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(4);
    // Five buffers of 8 MiB, and what proxy and server of this process hold in their streams.
    expect(peak).toBeLessThan(96 * MIB);
    await expectWhole("big", bytes);
  });
});

describe("a small object", () => {
  test("is one request", async () => {
    const before = proxy.requests.length;
    await store.put("small", once("hello"));
    expect(proxy.requests.slice(before)).toEqual([expect.stringMatching(/^PUT \/backups\/shop\/small/)]);
  });

  test("is not taken for written when something else than a store answers 200", async () => {
    proxy.trouble = (request, response) => {
      if (request.method !== "PUT") return false;
      request.resume();
      response.writeHead(200, { "content-type": "text/html" }).end("<h1>Please log in</h1>");
      return true;
    };
    await expect(store.put("small", once("hello"))).rejects.toThrow(/does not confirm what was written/);
    await expect(store.create("small", Buffer.from("hello"))).rejects.toThrow(/does not confirm/);
  });

  test("is sent again when the server closes an idle connection just then", async () => {
    let closed = 0;
    proxy.trouble = (request) => {
      if (request.method !== "PUT" || closed > 0) return false;
      closed += 1;
      request.socket.destroy();
      return true;
    };
    await store.put("small", once("hello"));
    expect(closed).toBe(1);
  });
});

/** Lets the completion happen but cuts its answer, and then answers as a store with no such upload any more. */
function loseCompletion(
  request: IncomingMessage,
  response: ServerResponse,
  etags: string[],
  onLost: () => number,
): boolean {
  if (isPart(request)) {
    const number = Number(new URL(request.url ?? "/", s3.endpoint).searchParams.get("partNumber"));
    forward(s3.endpoint, request, response, (answer, outgoing) => {
      etags[number - 1] = (answer.headers.etag ?? "").replaceAll('"', "");
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(outgoing);
    });
    return true;
  }
  if (isComplete(request)) {
    if (onLost() > 1) {
      request.resume();
      return answerS3Error(response, 404, "NoSuchUpload");
    }
    forward(s3.endpoint, request, response, (answer, outgoing) => {
      answer.resume().on("end", () => outgoing.destroy());
    });
    return true;
  }
  if (request.method !== "HEAD") return false;
  // s3rver does not count the ETag of a multipart object as S3 does.
  forward(s3.endpoint, request, response, (answer, outgoing) => {
    const md5s = Buffer.concat(etags.map((etag) => Buffer.from(etag, "hex")));
    const etag = `"${createHash("md5").update(md5s).digest("hex")}-${etags.length}"`;
    outgoing.writeHead(answer.statusCode ?? 500, { ...answer.headers, etag });
    answer.pipe(outgoing);
  });
  return true;
}
