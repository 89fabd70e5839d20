import { runBackups } from "../../src/backup/run.ts";
import { inWorkspace, writeReport } from "../../src/github/reports.ts";
import { runAction } from "../../src/github/run-action.ts";
import * as contract from "./contract.ts";

await runAction(contract, async ({ inputs, context, publish, redact }) => {
  const request = {
    runbook: inWorkspace(inputs.runbook, context.env),
    components: inputs.components,
    kind: inputs.kind,
    streamSeconds: inputs["stream-for"],
    waitSeconds: inputs["wait-for"],
    prune: inputs.prune,
  };
  const run = await runBackups(request, context);
  const report = await writeReport("drill-reports", `backup-${run.id}.md`, redact(run.markdown), context);
  publish({
    "backup-id": run.backupId,
    "backups-json": JSON.stringify(run.backups),
    bytes: run.bytes,
    "duration-seconds": run.seconds,
    "recoverable-until": run.recoverableUntil,
    "report-path": report,
  });
  run.assertSucceeded();
});
