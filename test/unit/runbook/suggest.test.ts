import { expect, test } from "vitest";
import { nearest } from "../../../src/runbook/suggest.ts";

const KEYS = ["max-age", "query", "expect", "retention", "bin-dir", "run"];

test.each([
  ["maxage", "max-age"],
  ["max_age", "max-age"],
  ["maxAge", "max-age"],
  ["MAX-AGE", "max-age"],
  ["querry", "query"],
  ["expects", "expect"],
  ["retension", "retention"],
  ["binDir", "bin-dir"],
  ["rum", "run"],
  ["zebra", undefined],
  ["", undefined],
  ["x".repeat(100_000), undefined],
])("%s is meant as %s", (word, meant) => expect(nearest(word, KEYS)).toBe(meant));
