import { describe, expect, test } from "vitest";
import { compareFlaws, compareObjects } from "../../../../src/postgres/census/compare.ts";
import type { SchemaObject } from "../../../../src/postgres/census/document.ts";
import { boundedLines } from "../../../../src/postgres/integrity/ground.ts";
import { isSteady } from "../../../../src/postgres/integrity/steadiness.ts";

function table(name: string, oid: string): SchemaObject {
  return { kind: "table", name, definition: "table", oid };
}

function column(name: string, of: string, definition = "text"): SchemaObject {
  return { kind: "column", name: `${of}.${name}`, of, definition };
}

describe("two looks at a schema", () => {
  const then = [table("a", "1"), column("x", "a"), column("y", "a"), table("b", "2"), column("x", "b")];

  test("that are equal have no difference, in whatever order", () => {
    expect(compareObjects(then, then.toReversed())).toMatchObject({ lines: [], changed: 0, added: 0 });
  });

  test("differ by what is absent, other or new; parts of an absent or new table are not told", () => {
    const now = [
      table("a", "1"),
      column("x", "a", "int"),
      column("z", "a"),
      table("c", "3"),
      column("x", "c"),
    ];
    const { lines, absent, changed, added } = compareObjects(then, now);
    expect(lines).toEqual([
      "column a.y is not there",
      "table b is not there",
      'column a.x was "text", is "int"',
      "column a.z is new",
      "table c is new",
    ]);
    expect(absent.map((one) => one.name)).toEqual(["a.y", "b", "b.x"]);
    expect([changed, added]).toEqual([1, 3]);
  });

  test("know a table that was renamed", () => {
    const now = [...then.slice(0, 3), table("better", "2"), column("x", "better")];
    expect(compareObjects(then, now).lines).toEqual(["table b is now named better"]);
  });

  test("do not show code or its digest, and cut long definitions", () => {
    const code = (definition: string) => [{ kind: "function", name: "f()", definition }];
    expect(compareObjects(code("0".repeat(64)), code("1".repeat(64))).lines).toEqual([
      "function f() has another definition",
    ]);
    const [line] = compareObjects(code("x".repeat(1_000)), code("y")).lines;
    expect(line).toBe(`function f() was "${"x".repeat(120)}…", is "y"`);
  });
});

test("a flaw is known, turned up since, or of an object that is newer", () => {
  const index = (name: string, flaw?: "invalid"): SchemaObject => ({
    kind: "index",
    name,
    definition: "",
    ...(flaw === undefined ? {} : { flaw }),
  });
  const then = [index("known", "invalid"), index("turned"), index("healed", "invalid")];
  const now = [
    index("known", "invalid"),
    index("turned", "invalid"),
    index("fresh", "invalid"),
    index("healed"),
  ];
  const found = compareFlaws(then, now, "invalid");
  const names = (objects: readonly SchemaObject[]) => objects.map((one) => one.name);
  expect([names(found.known), names(found.turned), names(found.fresh)]).toEqual([
    ["known"],
    ["turned"],
    ["fresh"],
  ]);
  expect(compareFlaws(then, now, "not valid")).toEqual({ known: [], turned: [], fresh: [] });
});

test("a census holds from its first to its last position, both included", () => {
  const steady = { from: "0/10", to: "1/0" };
  expect([0xfn, 0x10n, 0x1_0000_0000n, 0x1_0000_0001n].map((at) => isSteady(steady, at))).toEqual([
    false,
    true,
    true,
    false,
  ]);
});

test("a record keeps fifty lines of 300 characters and says how many there are", () => {
  const lines = boundedLines(Array.from({ length: 60 }, (_, index) => `${index}\n${"x".repeat(400)}`));
  expect(lines).toHaveLength(51);
  expect(lines[0]).toBe(`0 ${"x".repeat(298)}…`);
  expect(lines.at(-1)).toBe("and 10 more");
  expect(boundedLines(["one"])).toEqual(["one"]);
});
