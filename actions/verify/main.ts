import { assertPassed } from "../../src/drill/verdict.ts";
import { inWorkspace, writeRecord, writeReport } from "../../src/github/reports.ts";
import { runFacts } from "../../src/github/run.ts";
import { runAction } from "../../src/github/run-action.ts";
import { assertTold } from "../../src/report/report.ts";
import { renderVerification } from "../../src/verify/markdown.ts";
import { notifyVerification } from "../../src/verify/notify.ts";
import { runVerify } from "../../src/verify/run.ts";
import * as contract from "./contract.ts";

await runAction(contract, async ({ inputs, context, publish, redact }) => {
  const runbook = inWorkspace(inputs.runbook, context.env);
  const run = await runVerify({ ...inputs, coverWithin: inputs["cover-within"], runbook, redact }, context);
  const { record, reasons } = run;
  const folder = inputs["report-dir"];
  const recordPath = await writeRecord(folder, `verify-${record.id}.json`, record, context);
  const [summary, report] = (["summary", "file"] as const).map((size) =>
    redact(renderVerification(record, size)),
  );
  const reportPath = await writeReport(folder, `verify-${record.id}.md`, report ?? "", context, summary);
  publish({
    verdict: record.verdict,
    "findings-json": JSON.stringify(record.findings),
    "rpo-seconds": record.rpoSeconds,
    "report-path": reportPath,
    "record-path": recordPath,
  });
  const untold = await notifyVerification(run, inputs.notify, runFacts(context.env).run.url, context);
  assertPassed({ verdict: record.verdict, reasons });
  assertTold(untold);
});
