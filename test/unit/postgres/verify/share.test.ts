import { expect, test } from "vitest";
import { isChosen } from "../../../../src/postgres/verify/share.ts";

const names = Array.from({ length: 2_000 }, (_, index) => `db/wal/00000001/${index}.zst`);

test("without a share everything is read", () => {
  expect(names.every((name) => isChosen(undefined, name))).toBe(true);
});

test("in so many days each object is read on exactly one of them, and no day has much more than its share", () => {
  const days = Array.from({ length: 7 }, (_, part) =>
    names.filter((name) => isChosen({ part, of: 7 }, name)),
  );
  expect(days.flat().toSorted()).toEqual(names.toSorted());
  for (const day of days) expect(Math.abs(day.length - names.length / 7)).toBeLessThan(100);
});
