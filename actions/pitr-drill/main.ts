import { drillOnce } from "../../src/drill/drill-once.ts";
import { assertPassed } from "../../src/drill/verdict.ts";
import { checkArtifactName, uploadArtifact } from "../../src/github/artifact.ts";
import { inWorkspace, writeReport } from "../../src/github/reports.ts";
import { runFacts } from "../../src/github/run.ts";
import { runAction } from "../../src/github/run-action.ts";
import { renderDrill } from "../../src/report/markdown.ts";
import * as contract from "./contract.ts";

await runAction(contract, async ({ inputs, context, publish, redact }) => {
  const artifactName = inputs["artifact-name"];
  checkArtifactName(artifactName);
  const reportDir = inWorkspace(inputs["report-dir"], context.env);
  const runbookFile = inWorkspace(inputs.runbook, context.env);
  const { record, recordPath, contacts } = await drillOnce(
    { ...inputs, ...runFacts(context.env), runbookFile, reportDir, redact },
    context,
  );
  const [summary, report] = (["summary", "file"] as const).map((size) =>
    redact(renderDrill(record, { size, contacts })),
  );
  const reportPath = await writeReport(reportDir, `${record.id}.md`, report ?? "", context, summary);
  const files = [recordPath, reportPath];
  const artifactId = await uploadArtifact(artifactName, files, inputs["retention-days"], context);
  publish({
    verdict: record.verdict,
    "rto-seconds": record.achieved.rtoSeconds,
    "rpo-seconds": record.achieved.rpoSeconds,
    "drill-id": record.id,
    "record-path": recordPath,
    "report-path": reportPath,
    "artifact-id": artifactId,
  });
  assertPassed(record);
});
