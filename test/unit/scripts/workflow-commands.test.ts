import { describe, expect, test } from "vitest";
import { readKeyValues, readTranscript } from "../../../scripts/lib/workflow-commands.ts";

describe("readTranscript", () => {
  test("reads annotations with their properties, and undoes the escaping", () => {
    const { annotations } = readTranscript(
      "::error file=a%2Cb.yml,line=3,col=5::50%25 of it%0Ais wrong\nplain\n",
    );
    expect(annotations).toEqual([
      {
        level: "error",
        message: "50% of it\nis wrong",
        properties: { file: "a,b.yml", line: "3", col: "5" },
      },
    ]);
  });

  test("takes mask commands out of what is visible, and keeps what they mask", () => {
    const { masks, visible } = readTranscript("before\n::add-mask::hunter2\nafter");
    expect(masks).toEqual(["hunter2"]);
    expect(visible).toBe("before\nafter");
  });

  test("reads a command behind blanks, as the runner does", () => {
    expect(readTranscript("  ::warning::careful").annotations).toHaveLength(1);
  });

  test("reads no command between stop-commands and its token", () => {
    const text = "::stop-commands::token\n::error::from a database\n::token::\n::error::ours";
    expect(readTranscript(text).annotations.map((one) => one.message)).toEqual(["ours"]);
  });
});

describe("readKeyValues", () => {
  test("reads one-line values and values with a delimiter", () => {
    expect(readKeyValues("a=1\nb<<end\nfirst\n=second\nend\nc=x=y\n")).toEqual({
      a: "1",
      b: "first\n=second",
      c: "x=y",
    });
  });

  test("refuses what the runner refuses", () => {
    expect(() => readKeyValues("no value here\n")).toThrow(/refuses/);
    expect(() => readKeyValues("a<<end\nvalue\n")).toThrow(/no end/);
  });
});
