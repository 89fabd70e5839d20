import { describe, expect, test } from "vitest";
import { MAX_PARTS, partSizes } from "../../../src/stores/part-sizes.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const TIB = 2 ** 40;

/** Parts that an upload of `bytes` takes. */
function partsFor(bytes: number, expectedBytes?: number): number[] {
  const sizes = partSizes(expectedBytes);
  const parts: number[] = [];
  for (let left = bytes; left > 0; left -= parts.at(-1) ?? left) parts.push(sizes.sizeOf(parts.length + 1));
  return parts;
}

describe("the parts of an upload", () => {
  test.each([
    [1, 8 * MIB],
    [GIB, 8 * MIB],
    [70 * GIB, 8 * MIB],
    [100 * GIB, 12 * MIB],
    [TIB, 117 * MIB],
    [5 * TIB, 583 * MIB],
  ])("of %i expected bytes are all of the same size, which suits R2", (expected, size) => {
    const parts = partsFor(expected, expected);
    expect(new Set(parts)).toEqual(new Set([size]));
    expect(parts.length).toBeLessThanOrEqual(9_000);
  });

  test.each([
    [undefined, 5 * TIB],
    [0, TIB],
    [100 * GIB, TIB],
    [TIB, 3 * TIB],
  ])("never exceed 10,000, even when %s expected bytes become %i", (expected, actual) => {
    const parts = partsFor(actual, expected);
    expect(parts.length).toBeLessThanOrEqual(MAX_PARTS);
    expect(Math.max(...parts)).toBeLessThanOrEqual(5 * GIB);
  });

  test("stay equal for 39 GiB when nothing is known of the size", () => {
    expect(new Set(partsFor(39 * GIB))).toEqual(new Set([8 * MIB]));
    expect(new Set(partsFor(45 * GIB))).toEqual(new Set([8 * MIB, 16 * MIB]));
  });

  test("hold at most 64 MiB in memory together while that is possible", () => {
    const { parallelOf } = partSizes();
    expect(parallelOf(8 * MIB)).toBe(3);
    for (const size of [8, 12, 16, 20, 32])
      expect((parallelOf(size * MIB) + 1) * size).toBeLessThanOrEqual(64);
    expect(parallelOf(600 * MIB)).toBe(1);
  });
});
