import { describe, expect, test } from "vitest";
import { hasEnded, parseSnapshot, withEpoch, withoutEpoch } from "../../../src/postgres/snapshots.ts";

describe("a snapshot", () => {
  const snapshot = parseSnapshot("100:110:100,104") ?? expect.fail("is one");

  test.each([
    [99n, true],
    [100n, false],
    [101n, true],
    [104n, false],
    [109n, true],
    [110n, false],
  ])("says of transaction %i whether it had ended: %s", (xid, ended) => {
    expect(hasEnded(snapshot, xid)).toBe(ended);
  });

  test("may have no running transactions", () => {
    expect(parseSnapshot("100:100:")).toEqual({ xmin: 100n, xmax: 100n, running: [] });
  });

  test.each(["", "100:110", "100:110:x", "a:b:"])("is not %j", (text) => {
    expect(parseSnapshot(text)).toBeUndefined();
  });
});

describe("a transaction without its epoch", () => {
  const epoch = 2n ** 32n;

  test.each([
    [900n, 1_000n, 900n],
    [5_000n, 1_000n, 5_000n],
    [4_000_000_000n, 1_000n, 4_000_000_000n],
    [900n, epoch + 1_000n, epoch + 900n],
    [4_294_967_290n, epoch + 1_000n, 4_294_967_290n],
    [2_000n, epoch + 1_000n, epoch + 2_000n],
    [5n, epoch - 10n, epoch + 5n],
    [epoch + 7n, 1_000n, epoch + 7n],
  ])("is the nearest of that number: %i near %i is %i", (xid, xmax, whole) => {
    expect(withEpoch(xid, { xmin: xmax, xmax, running: [] })).toBe(whole);
    expect(withoutEpoch(whole)).toBe(xid % epoch);
  });
});
