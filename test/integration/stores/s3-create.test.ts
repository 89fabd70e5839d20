import type { IncomingMessage, ServerResponse } from "node:http";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { ToolError } from "../../../src/errors.ts";
import { readAll } from "../../../src/stores/store.ts";
import { answerS3Error, forward } from "../../support/http.ts";
import { honourConditions, isConditional } from "../../support/s3-conditions.ts";
import { type S3World, startS3World } from "../../support/s3-world.ts";

let world: S3World;
let keys = 0;

beforeAll(async () => {
  world = await startS3World();
});
afterAll(() => world.close());
afterEach(() => world.reset());

function honour(): void {
  world.proxy.trouble = honourConditions(world.s3.endpoint);
}

function freshKey(): string {
  keys += 1;
  return `lock-${keys}`;
}

function sentBy(from: number): string[] {
  return world.proxy.requests.slice(from).map((line) => line.slice(0, line.indexOf(" ")));
}

describe("where the store honours If-None-Match", () => {
  test("of several that create the same key at once exactly one wins", async () => {
    honour();
    const opened = await Promise.all([1, 2, 3, 4].map(() => world.open()));
    for (let round = 0; round < 10; round += 1) {
      const key = freshKey();
      const won = await Promise.all(
        opened.map(({ store }, index) => store.create(key, Buffer.from(`${index}`))),
      );
      expect(won.filter((result) => result)).toHaveLength(1);
      const { store } = opened[0] ?? (await world.open());
      expect((await readAll(await store.get(key))).toString()).toBe(String(won.indexOf(true)));
    }
  });

  test("a create is one request once that is known", async () => {
    honour();
    const { store } = await world.open();
    await store.create(freshKey(), Buffer.from("x"));
    const before = world.proxy.requests.length;
    expect(await store.create(freshKey(), Buffer.from("x"))).toBe(true);
    expect(sentBy(before)).toEqual(["PUT"]);
  });

  test("a create whose answer was lost still knows that it won", async () => {
    honour();
    const { store } = await world.open();
    await store.create(freshKey(), Buffer.from("x"));
    const honoured = world.proxy.trouble;
    const loseOne = (): void => {
      let lost = false;
      world.proxy.trouble = (request, response) => {
        if (!isConditional(request) || lost) return honoured?.(request, response) ?? false;
        lost = true;
        return loseAnswer(request, response);
      };
    };
    loseOne();
    const key = freshKey();
    expect(await store.create(key, Buffer.from("mine"))).toBe(true);

    const taken = freshKey();
    await store.create(taken, Buffer.from("theirs"));
    let refusals = 0;
    world.proxy.trouble = (request, response) => {
      if (!isConditional(request)) return false;
      request.resume();
      refusals += 1;
      return refusals === 1
        ? answerS3Error(response, 503, "SlowDown")
        : answerS3Error(response, 412, "PreconditionFailed");
    };
    expect(await store.create(taken, Buffer.from("mine"))).toBe(false);
  });

  test("a conflict with a write that is under way is tried again", async () => {
    const { store } = await world.open();
    let conflicts = 0;
    world.proxy.trouble = (request, response) => {
      if (!isConditional(request) || conflicts > 0) return false;
      conflicts += 1;
      request.resume();
      return answerS3Error(response, 409, "ConditionalRequestConflict");
    };
    expect(await store.create(freshKey(), Buffer.from("x"))).toBe(true);
    expect(conflicts).toBe(1);
  });
});

describe("where the store ignores If-None-Match", () => {
  test("what exists is never overwritten, in the first create nor later", async () => {
    const { store } = await world.open();
    const key = freshKey();
    await (await world.open()).store.create(key, Buffer.from("first"));
    expect(await store.create(key, Buffer.from("second"))).toBe(false);
    expect(await store.create(freshKey(), Buffer.from("x"))).toBe(true);
    expect(await store.create(key, Buffer.from("third"))).toBe(false);
    expect((await readAll(await store.get(key))).toString()).toBe("first");
  });

  test("each create looks first, and asks for no condition any more", async () => {
    const { store } = await world.open();
    await store.create(freshKey(), Buffer.from("x"));
    const conditions: boolean[] = [];
    world.proxy.trouble = (request) => {
      conditions.push(isConditional(request));
      return false;
    };
    const before = world.proxy.requests.length;
    await store.create(freshKey(), Buffer.from("x"));
    expect(sentBy(before)).toEqual(["HEAD", "PUT"]);
    expect(conditions).toEqual([false, false]);
  });
});

test("a store that refuses the header altogether is written to without it", async () => {
  const { store } = await world.open();
  world.proxy.trouble = (request, response) => {
    if (!isConditional(request)) return false;
    request.resume();
    return answerS3Error(response, 501, "NotImplemented");
  };
  const key = freshKey();
  expect(await store.create(key, Buffer.from("x"))).toBe(true);
  expect(await store.create(key, Buffer.from("y"))).toBe(false);
  expect((await readAll(await store.get(key))).toString()).toBe("x");
});

test("a create that is denied is an error, neither won nor lost", async () => {
  const { store } = await world.open();
  world.proxy.trouble = (request, response) => {
    if (request.method !== "PUT") return false;
    request.resume();
    return answerS3Error(response, 403, "AccessDenied");
  };
  await expect(store.create(freshKey(), Buffer.from("x"))).rejects.toThrow(ToolError);
});

/** Lets a request happen, but cuts the connection in place of its answer. */
function loseAnswer(request: IncomingMessage, response: ServerResponse): true {
  forward(world.s3.endpoint, request, response, (answer, outgoing) => {
    answer.resume().on("end", () => outgoing.destroy());
  });
  return true;
}
