import { describe, expect, test } from "vitest";
import { AbortedError } from "../../../src/errors.ts";
import { nextPause, pauseMs, withRetries } from "../../../src/stores/retry.ts";
import { retryAfterMs, s3RetryAdvice } from "../../../src/stores/s3-errors.ts";

const POLICY = { withinMs: 60_000, attempts: 4, baseMs: 100, capMs: 1_000 };
const QUICK = { withinMs: 60_000, attempts: 4, baseMs: 1, capMs: 1 };
const never = new AbortController().signal;

describe("a pause between attempts", () => {
  test("is spread from nothing to a ceiling that doubles up to the cap", () => {
    for (const [failures, ceiling] of [
      [1, 100],
      [2, 200],
      [4, 800],
      [5, 1_000],
      [50, 1_000],
    ] as const) {
      const pauses = Array.from({ length: 500 }, () => pauseMs(POLICY, failures));
      expect(Math.max(...pauses)).toBeLessThanOrEqual(ceiling);
      expect(Math.max(...pauses)).toBeGreaterThan(ceiling / 2);
      expect(Math.min(...pauses)).toBeLessThan(ceiling / 2);
    }
  });

  test("is never shorter than the other side asks for", () => {
    for (let n = 0; n < 100; n += 1) expect(pauseMs(POLICY, 1, 5_000)).toBeGreaterThanOrEqual(5_000);
  });

  test("that does not fit into the time that is left is no pause: the work fails", () => {
    expect(nextPause(POLICY, 1, 50_000, { afterMs: 10_000 })).toBe(10_000);
    expect(nextPause(POLICY, 1, 50_001, { afterMs: 10_000 })).toBeUndefined();
  });

  test("ends with the time, so that the last attempt is made then, and none after it", () => {
    const slow = { withinMs: 60_000, baseMs: 1e9, capMs: 1e9 };
    expect(nextPause(slow, 1, 59_990)).toBeLessThanOrEqual(10);
    expect(nextPause(slow, 1, 60_000)).toBeUndefined();
  });
});

describe("work that fails", () => {
  async function run(
    failures: number,
    advice: object | undefined,
  ): Promise<{ tries: number; result: unknown }> {
    let tries = 0;
    const result = await withRetries(
      QUICK,
      never,
      async () => {
        tries += 1;
        if (tries <= failures) throw new Error(`failure ${tries}`);
        return "done";
      },
      () => advice,
      () => undefined,
    ).catch((error: unknown) => error);
    return { tries, result };
  }

  test("is tried again until it succeeds", async () => {
    expect(await run(3, {})).toEqual({ tries: 4, result: "done" });
  });

  test("ends with its last failure when the attempts are used up", async () => {
    expect(await run(9, {})).toEqual({ tries: 4, result: new Error("failure 4") });
  });

  test("is not tried again when that can not help, and less often when it hardly can", async () => {
    expect(await run(9, undefined)).toEqual({ tries: 1, result: new Error("failure 1") });
    expect(await run(9, { attempts: 2 })).toEqual({ tries: 2, result: new Error("failure 2") });
  });

  test("does not wait for its next attempt once it is stopped", async () => {
    const controller = new AbortController();
    const waiting = withRetries(
      { withinMs: 600_000, attempts: 2, baseMs: 60_000, capMs: 60_000 },
      controller.signal,
      () => Promise.reject(new Error("no")),
      () => ({ afterMs: 60_000 }),
      () => setTimeout(() => controller.abort(), 1),
    );
    await expect(waiting).rejects.toThrow(AbortedError);
  });
});

describe("an answer of S3", () => {
  const answer = (status: number, name = "X", headers = {}): Error =>
    Object.assign(new Error(name), { name, $metadata: { httpStatusCode: status }, $response: { headers } });

  test.each([408, 429, 500, 502, 503, 504])("%i is worth another attempt", (status) => {
    expect(s3RetryAdvice(answer(status), true)).toBeDefined();
  });

  test.each([400, 403, 404, 412, 416, 501, 507])("%i is not", (status) => {
    expect(s3RetryAdvice(answer(status), true)).toBeUndefined();
  });

  test("brings the pause it asks for", () => {
    expect(s3RetryAdvice(answer(503, "SlowDown", { "retry-after": "7" }), true)).toEqual({ afterMs: 7_000 });
  });

  test("that is no answer is tried less often as long as the store was never reached", () => {
    for (const code of ["ECONNREFUSED", "ENOTFOUND", "ETIMEDOUT"]) {
      const error = Object.assign(new Error(code), { code });
      expect(s3RetryAdvice(error, false)).toEqual({ attempts: 3 });
      expect(s3RetryAdvice(error, true)).toEqual({});
    }
  });
});

test("Retry-After is read as seconds or as a date", () => {
  const now = Date.parse("2026-01-25T12:00:00Z");
  expect(retryAfterMs("120", now)).toBe(120_000);
  expect(retryAfterMs("Sun, 25 Jan 2026 12:00:30 GMT", now)).toBe(30_000);
  expect(retryAfterMs("Sun, 25 Jan 2026 11:00:00 GMT", now)).toBe(0);
  expect(retryAfterMs("soon", now)).toBeUndefined();
  expect(retryAfterMs(undefined, now)).toBeUndefined();
});
