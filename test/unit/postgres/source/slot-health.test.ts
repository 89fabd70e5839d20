import { expect, test } from "vitest";
import type { SlotReport } from "../../../../src/component.ts";
import { judgeSlot } from "../../../../src/postgres/source/slot-health.ts";

const GIB = 2 ** 30;
const sound: SlotReport = {
  name: "drillbook",
  walStatus: "reserved",
  restartLsn: "0/3000000",
  retainedBytes: GIB,
  safeBytes: 9 * GIB,
  maxKeepBytes: 10 * GIB,
};

function judged(changes: Partial<SlotReport>): string[] {
  return judgeSlot({ ...sound, ...changes }).map(({ severity, message }) => `${severity}: ${message}`);
}

test("a slot that keeps little of what it may is no finding", () => {
  expect(judged({})).toEqual([]);
  expect(judged({ retainedBytes: 5 * GIB })).toEqual([]);
});

test.each([
  {
    changes: { retainedBytes: 5 * GIB + 1 },
    finding: /^warning: .*more than half of .*5\.00 GiB now.*10\.0 GiB/,
  },
  { changes: { walStatus: "extended" }, finding: /^warning: .*more WAL than max_wal_size, 1\.00 GiB now/ },
  { changes: { walStatus: "unreserved" }, finding: /^warning: .*about to lose its WAL/ },
  { changes: { walStatus: "lost", retainedBytes: null }, finding: /^error: .*lost its WAL/ },
  { changes: { maxKeepBytes: null }, finding: /^notice: Nothing limits the WAL/ },
])("$changes is one finding", ({ changes, finding }) => {
  const findings = judged(changes);
  expect(findings).toHaveLength(1);
  expect(findings[0]).toMatch(finding);
});

test("the worst of several is told once", () => {
  const findings = judged({ walStatus: "unreserved", retainedBytes: 12 * GIB });
  expect(findings).toHaveLength(1);
  expect(judged({ walStatus: "extended", retainedBytes: 9 * GIB })[0]).toMatch(/more than half/);
});

test("a slot that nothing limits and that keeps much is a warning and a notice", () => {
  expect(judged({ walStatus: "extended", maxKeepBytes: null }).map((one) => one.split(":")[0])).toEqual([
    "warning",
    "notice",
  ]);
});

test("the limit that is recommended grows with what is kept, and is one that PostgreSQL takes", () => {
  const [small] = judgeSlot({ ...sound, maxKeepBytes: null });
  expect(small?.remedy).toContain("max_slot_wal_keep_size = '16GB'");
  const [large] = judgeSlot({ ...sound, maxKeepBytes: null, retainedBytes: 20 * GIB });
  expect(large?.remedy).toContain("max_slot_wal_keep_size = '80GB'");
});
