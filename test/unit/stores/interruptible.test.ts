import { expect, test } from "vitest";
import { interruptible } from "../../../src/stores/interruptible.ts";

async function* numbers(): AsyncGenerator<number> {
  yield 1;
  yield 2;
}

test("gives what the source gives, then undefined", async () => {
  const source = interruptible(numbers());
  expect([await source.next(), await source.next(), await source.next()]).toEqual([1, 2, undefined]);
  await source.close();
});

test("passes the error of the source on", async () => {
  async function* failing(): AsyncGenerator<number> {
    yield 1;
    throw new Error("broken");
  }
  const source = interruptible(failing());
  await source.next();
  await expect(source.next()).rejects.toThrow("broken");
});

test("ends a wait for a source that hangs, and every later one, and closes without waiting for it", async () => {
  async function* hanging(): AsyncGenerator<number> {
    await new Promise(() => undefined);
    yield 1;
  }
  const source = interruptible(hanging());
  const waiting = source.next();
  source.interrupt(new Error("enough"));
  await expect(waiting).rejects.toThrow("enough");
  source.interrupt(new Error("something else"));
  await expect(source.next()).rejects.toThrow("enough");
  await source.close();
});

test("closing waits until an idle source has freed what it holds", async () => {
  let freed = false;
  async function* holding(): AsyncGenerator<number> {
    try {
      yield 1;
    } finally {
      await new Promise((resolve) => setTimeout(resolve, 5));
      freed = true;
    }
  }
  const source = interruptible(holding());
  await source.next();
  await source.close();
  expect(freed).toBe(true);
});
