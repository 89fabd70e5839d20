import { dirname } from "node:path";
import { assertPassed } from "../../src/drill/verdict.ts";
import { checkArtifactName, uploadArtifact } from "../../src/github/artifact.ts";
import { inWorkspace, writeReport } from "../../src/github/reports.ts";
import { runFacts } from "../../src/github/run.ts";
import { runAction } from "../../src/github/run-action.ts";
import { assertTold, makeReport, notifyReport } from "../../src/report/report.ts";
import { loadRunbook } from "../../src/runbook/load.ts";
import * as contract from "./contract.ts";

await runAction(contract, async ({ inputs, context, publish, redact }) => {
  const artifactName = inputs["artifact-name"];
  checkArtifactName(artifactName);
  const runbook = loadRunbook(inWorkspace(inputs.runbook, context.env));
  const report = await makeReport({ ...inputs, runbook, folder: inWorkspace(".", context.env) }, context);
  const folder = dirname(inputs.records[0] ?? "");
  const path = await writeReport(
    folder,
    "report.md",
    redact(report.markdown),
    context,
    redact(report.summary),
  );
  const artifactId = await uploadArtifact(artifactName, [path], inputs["retention-days"], context);
  publish({ verdict: report.verdict, "report-path": path, "artifact-id": artifactId });
  const untold = await notifyReport(report, runbook, inputs.notify, runFacts(context.env).run.url, context);
  assertPassed(report);
  assertTold(untold);
});
