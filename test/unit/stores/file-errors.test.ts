import { expect, test } from "vitest";
import { AbortedError, DefectError, ToolError } from "../../../src/errors.ts";
import { explainFileError } from "../../../src/stores/file-errors.ts";
import { ObjectMissing } from "../../../src/stores/store.ts";

test.each([
  ["ENOSPC", /the disk is full: free space there/],
  ["EDQUOT", /quota of this user is used up/],
  ["EACCES", /check the owner and mode/],
  ["EROFS", /mounted read-only/],
  ["EIO", /input\/output error: check its health/],
  ["EWEIRD", /the system answered EWEIRD/],
])("%s becomes one sentence that says what to do", (code, sentence) => {
  const cause = Object.assign(new Error(`${code}: x`), { code });
  const error = explainFileError(cause, "Writing /b/a");
  expect(error).toBeInstanceOf(ToolError);
  expect(error.message).toMatch(/^Writing \/b\/a failed because .*\.$/);
  expect(error.message).toMatch(sentence);
  expect(error.cause).toBe(cause);
});

test("what already is a sentence, and a bug, stay as they are", () => {
  for (const error of [
    new ToolError("x"),
    new DefectError("a", "x"),
    new ObjectMissing("a"),
    new AbortedError(),
    new TypeError("a bug"),
  ]) {
    expect(explainFileError(error, "Writing")).toBe(error);
  }
});
