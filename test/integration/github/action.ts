import { setTimeout as sleep } from "node:timers/promises";
import { optionalText } from "../../../src/github/inputs.ts";
import { runAction } from "../../../src/github/run-action.ts";

/** An action whose work is named by its input `work`, for the tests of what surrounds every action. */
const contract = {
  inputs: { work: optionalText() },
  outputs: ["verdict", "report-path", "backups-json"],
} as const;

await runAction(contract, async ({ inputs, context, publish }) => {
  if (inputs.work === "callback fails") {
    setImmediate(() => {
      throw new Error("a callback of a library failed");
    });
    // It never ends by itself, and nothing else keeps the process alive.
    await new Promise(() => undefined);
  }
  if (inputs.work === "callback fails and nobody minds") {
    setImmediate(() => {
      throw new Error("a callback of a library failed");
    });
    await sleep(100);
  }
  if (inputs.work === "print") {
    for (let line = 0; line < 2_000; line += 1) {
      context.log.info(`line ${line} ${context.env.AGE_IDENTITY ?? ""}`);
      if (line % 100 === 0) await sleep(1);
    }
  }
  publish({
    verdict: "passed",
    "report-path": `${context.workDir}/shop.md`,
    "backups-json": '["shop-passed"]',
  });
});
