import { expect, test } from "vitest";
import { renderBackups } from "../../../src/backup/markdown.ts";
import { runBackups } from "../../../src/backup/run.ts";
import { UserError } from "../../../src/errors.ts";
import { testContext } from "../../support/context.ts";

test("stream-for goes with kind: wal alone, and is refused before the runbook is read", async () => {
  await using context = await testContext();
  const request = { runbook: "/no/such/file.yml", components: [], prune: "false" } as const;
  const refused = runBackups({ ...request, kind: "full", streamSeconds: 60 }, context);
  await expect(refused).rejects.toThrow(/stream-for goes with kind: wal alone/);
  await expect(refused).rejects.toBeInstanceOf(UserError);
  await expect(runBackups({ ...request, kind: "wal", streamSeconds: 60 }, context)).rejects.toThrow(
    /file\.yml/,
  );
});

test("the report tells what a run noted of the slot, and marks what is wrong", () => {
  const document = renderBackups({
    id: "x",
    service: "shop",
    kind: "wal",
    backups: [
      {
        component: "db",
        backupId: null,
        bytes: 1,
        seconds: 1,
        recoverableUntil: null,
        slot: null,
        notes: [
          { severity: "notice", text: "The slot keeps 1 MiB." },
          { severity: "warning", text: "It is <at> risk." },
        ],
        pruned: [],
        error: null,
      },
    ],
    bytes: 1,
    seconds: 1,
    backupId: undefined,
    recoverableUntil: undefined,
  });
  expect(document).toMatch(/^- \*\*db:\*\* The slot keeps 1 MiB\.$/m);
  expect(document).toMatch(/^- ⚠️ \*\*db:\*\* It is .*at.* risk\.$/m);
  expect(document).not.toContain("<at>");
});
