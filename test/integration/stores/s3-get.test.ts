import type { IncomingMessage, ServerResponse } from "node:http";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { AbortedError, DefectError, ToolError } from "../../../src/errors.ts";
import { getParallel } from "../../../src/stores/ranges.ts";
import { ObjectMissing, readAll, type Store } from "../../../src/stores/store.ts";
import { digest, noise, once } from "../../support/bytes.ts";
import { answerS3Error, forward, type TroubledProxy } from "../../support/http.ts";
import type { TestS3 } from "../../support/s3.ts";
import { IMPATIENT, type S3World, startS3World } from "../../support/s3-world.ts";

const MIB = 2 ** 20;
const BYTES = 6 * MIB;
let world: S3World;
let s3: TestS3;
let proxy: TroubledProxy;
let store: Store;

beforeAll(async () => {
  world = await startS3World();
  ({ s3, proxy } = world);
});
afterAll(() => world.close());
beforeEach(async () => {
  ({ store } = await world.open());
  await store.put("big", noise(BYTES));
});
afterEach(() => world.reset());

/** Lets `bytes` of the body through, then does `then`. */
function cutAfter(
  bytes: number,
  request: IncomingMessage,
  response: ServerResponse,
  then: (response: ServerResponse) => void,
): true {
  forward(s3.endpoint, request, response, (answer, outgoing) => {
    outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
    let sent = 0;
    answer.on("data", (chunk: Buffer) => {
      const piece = chunk.subarray(0, bytes - sent);
      sent += piece.length;
      if (piece.length > 0) outgoing.write(piece, () => sent === bytes && then(outgoing));
    });
  });
  return true;
}

async function expectWhole(from = store): Promise<void> {
  expect(await digest(await from.get("big"))).toEqual(await digest(noise(BYTES)));
}

describe("a body that breaks off", () => {
  test.each([
    ["is reset", (response: ServerResponse) => response.socket?.resetAndDestroy()],
    ["ends early", (response: ServerResponse) => response.socket?.end()],
  ])("is read on from the byte reached when the connection %s", async (_how, then) => {
    const ranges: (string | undefined)[] = [];
    proxy.trouble = (request, response) => {
      ranges.push(request.headers.range);
      if (ranges.length > 3) return false;
      return cutAfter(100_000, request, response, (outgoing) => then(outgoing));
    };
    await expectWhole();
    expect(ranges.length).toBe(4);
    expect(ranges[0]).toBeUndefined();
    for (const range of ranges.slice(1)) expect(range).toMatch(new RegExp(`^bytes=[1-9]\\d*-${BYTES - 1}$`));
  });

  test("is read on within the range that was asked for", async () => {
    let cuts = 0;
    proxy.trouble = (request, response) => {
      if (cuts >= 2) return false;
      cuts += 1;
      return cutAfter(50_000, request, response, (outgoing) => outgoing.socket?.resetAndDestroy());
    };
    const range = { offset: 1_000_001, length: 999_999 };
    const got = await readAll(await store.get("big", { range }));
    const all = await readAll(noise(BYTES));
    expect(got.equals(all.subarray(range.offset, range.offset + range.length))).toBe(true);
    expect(cuts).toBe(2);
  });

  test("is read on when it stalls for longer than the store's patience", async () => {
    let stalls = 0;
    proxy.trouble = (request, response) => {
      if (stalls > 0) return false;
      stalls += 1;
      return cutAfter(100_000, request, response, () => undefined);
    };
    const { store: impatient } = await world.open({ tuning: IMPATIENT });
    await expectWhole(impatient);
    expect(stalls).toBe(1);
  });

  test("is read on when the consumer was slower than the connection's patience", async () => {
    const { store: impatient } = await world.open({ tuning: IMPATIENT });
    async function* slowly(): AsyncGenerator<Uint8Array> {
      let paused = false;
      for await (const chunk of await impatient.get("big")) {
        yield chunk;
        if (!paused) await new Promise((resolve) => setTimeout(resolve, 1_000));
        paused = true;
      }
    }
    expect(await digest(slowly())).toEqual(await digest(noise(BYTES)));
  });

  test("is an error, never a silent end, when it ends at the same byte every time", async () => {
    proxy.trouble = (request, response) => {
      if (request.headers.range !== undefined) return cutShort(request, response);
      return cutAfter(100_000, request, response, (outgoing) => outgoing.socket?.end());
    };
    const reading = readAll(await store.get("big"));
    await expect(reading).rejects.toThrow(ToolError);
    await expect(reading).rejects.toThrow(
      /s3:\/\/backups\/shop\/big failed: the body ended after \d+ of 6291456 bytes/,
    );
  });

  test("is not continued with the bytes of another object that took the key", async () => {
    let conditions: (string | undefined)[] = [];
    proxy.trouble = (request, response) => {
      conditions = [...conditions, request.headers["if-match"]];
      if (conditions.length === 1) {
        return cutAfter(100_000, request, response, (outgoing) => outgoing.socket?.end());
      }
      return answerS3Error(response, 412, "PreconditionFailed");
    };
    await expect(readAll(await store.get("big"))).rejects.toThrow(/was replaced while it was read/);
    expect(conditions).toEqual([undefined, expect.stringMatching(/^"[0-9a-f-]+"$/)]);
  });
});

/** Sends the head of an answer and no byte of its body. */
function cutShort(request: IncomingMessage, response: ServerResponse): true {
  forward(s3.endpoint, request, response, (answer, outgoing) => {
    outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
    outgoing.flushHeaders();
    answer.destroy();
    outgoing.socket?.end();
  });
  return true;
}

describe("a wrong answer", () => {
  test("that ignores the range is refused", async () => {
    proxy.trouble = (request) => {
      delete request.headers.range;
      return false;
    };
    const reading = store.get("big", { range: { offset: 100, length: 10 } });
    await expect(reading).rejects.toThrow(/did not answer with the range that was asked for/);
    expect(await digest(await store.get("big", { range: { offset: 0, length: 10 } }))).toMatchObject({
      bytes: 10,
    });
  });

  test("of a web server that knows no such page does not prove that an object is missing", async () => {
    proxy.trouble = (_request, response) => {
      response.writeHead(404, { "content-type": "text/html" }).end("<html>Not found</html>");
      return true;
    };
    await expect(store.get("big")).rejects.not.toThrow(ObjectMissing);
    await expect(store.get("big")).rejects.toThrow(ToolError);
    const { store: fresh } = await world.open();
    await expect(fresh.stat("big")).rejects.toThrow(ToolError);
  });

  test("of 403 does not prove that an object is missing", async () => {
    proxy.trouble = (_request, response) => answerS3Error(response, 403, "AccessDenied");
    for (const read of [() => store.get("big"), () => store.stat("big")]) {
      const reading = read();
      await expect(reading).rejects.toThrow(ToolError);
      await expect(reading).rejects.toThrow(/need s3:GetObject on it, and s3:ListBucket on backups/);
    }
  });
});

describe("a document whose bytes are wrong on the way", () => {
  /** Answers with a wrong byte for so many readings; `same`: with the same one each time. */
  function spoil(readings: number, same: boolean): { times: number } {
    const state = { times: 0 };
    proxy.trouble = (request, response) => {
      if (request.method !== "GET" || state.times >= readings) return false;
      state.times += 1;
      const wrong = same ? "wrong" : `wrong ${state.times}`;
      forward(s3.endpoint, request, response, (answer, outgoing) => {
        answer.resume();
        outgoing.writeHead(200, { ...answer.headers, "content-length": wrong.length }).end(wrong);
      });
      return true;
    };
    return state;
  }

  beforeEach(() => store.put("document", once("right")));

  test("is read again until they match its ETag", async () => {
    const state = spoil(3, false);
    expect((await readAll(await store.get("document"))).toString()).toBe("right");
    expect(state.times).toBe(3);
  });

  test("is taken as it is when two readings agree, because not every store's ETag is an MD5", async () => {
    spoil(2, true);
    expect((await readAll(await store.get("document"))).toString()).toBe("wrong");
  });

  test("is an error that proves nothing when no two readings agree", async () => {
    spoil(Number.POSITIVE_INFINITY, false);
    const reading = readAll(await store.get("document"));
    await expect(reading).rejects.toThrow(ToolError);
    await expect(reading).rejects.toThrow(/shop\/document does not arrive as it lies in the store/);
  });
});

describe("getParallel", () => {
  test("keeps the order when the first range is the slowest, and asks for a bounded number at once", async () => {
    let underWay = 0;
    let most = 0;
    let release: (() => void) | undefined;
    proxy.trouble = async (request, response) => {
      underWay += 1;
      most = Math.max(most, underWay);
      response.once("close", () => (underWay -= 1));
      if (request.headers.range?.startsWith("bytes=0-") !== true) {
        if (underWay >= 3) release?.();
        return false;
      }
      await new Promise<void>((resolve) => {
        release = resolve;
      });
      return false;
    };
    const got = await digest(getParallel(store, "big", { bytes: BYTES, rangeBytes: 500_000, parallel: 3 }));
    expect(got).toEqual(await digest(noise(BYTES)));
    expect(most).toBe(3);
  });

  test("ends every request when the consumer stops", async () => {
    const { closed, ready } = holdAllBut("bytes=0-");
    for await (const chunk of getParallel(store, "big", { bytes: BYTES, rangeBytes: MIB, parallel: 4 })) {
      expect(chunk.length).toBe(MIB);
      await ready(3);
      break;
    }
    await closed(3);
  });

  test("ends every request when one range fails", async () => {
    const { closed, ready } = holdAllBut("bytes=0-", async (response) => {
      await ready(3);
      return answerS3Error(response, 403, "AccessDenied");
    });
    const reading = digest(getParallel(store, "big", { bytes: BYTES, rangeBytes: MIB, parallel: 4 }));
    await expect(reading).rejects.toThrow(/need s3:GetObject/);
    await closed(3);
  });

  test("ends every request when its signal fires", async () => {
    const { closed, ready } = holdAllBut("none");
    const controller = new AbortController();
    const options = { bytes: BYTES, rangeBytes: MIB, parallel: 4, signal: controller.signal };
    const reading = digest(getParallel(store, "big", options));
    const refused = expect(reading).rejects.toThrow(AbortedError);
    await ready(4);
    controller.abort();
    await refused;
    await closed(4);
  });

  test("proves a defect when the object is shorter than its manifest says", async () => {
    await store.put("short", once("0123456789"));
    const reading = digest(getParallel(store, "short", { bytes: 11, rangeBytes: 4 }));
    await expect(reading).rejects.toThrow(DefectError);
    await expect(reading).rejects.toMatchObject({ subject: "s3://backups/shop/short" });
  });
});

/** Holds the answers to all ranges but one; tells when so many are held, and when so many were closed. */
function holdAllBut(
  range: string,
  answer?: (response: ServerResponse) => Promise<boolean>,
): { ready(count: number): Promise<void>; closed(count: number): Promise<void> } {
  let held = 0;
  let ended = 0;
  let changed = Promise.withResolvers<void>();

  function change(): void {
    changed.resolve();
    changed = Promise.withResolvers();
  }

  proxy.trouble = async (request, response) => {
    if (request.headers.range?.startsWith(range) === true) return (await answer?.(response)) ?? false;
    held += 1;
    response.once("close", () => {
      ended += 1;
      change();
    });
    change();
    return true;
  };
  return {
    async ready(count) {
      while (held < count) await changed.promise;
    },
    async closed(count) {
      while (ended < count) await changed.promise;
    },
  };
}
