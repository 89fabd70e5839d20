import type { CheckResult } from "../record.ts";
import type { ServiceCheck } from "../runbook/schema.ts";
import { type CommandResult, runCommand } from "./command.ts";
import { type Observation, tryUntil } from "./retry.ts";
import { checkUrl } from "./url-check.ts";

/** What the commands and checks of a drill are given. */
export interface StepWorld {
  /** The runner's environment and `DRILLBOOK_<COMPONENT>_<KEY>` of what was recovered. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  /** Takes each line that a command prints. */
  onLine(line: string): void;
  /** Fills `${NAME}` in a value of the runbook from `env`. */
  fill(value: string): string;
  /** Takes what a command left running, to be stopped when the drill is over. */
  onLeftRunning(result: CommandResult): void;
}

/** The check's name, as it stands in the runbook: nothing in it is filled, so it holds no secret. */
export function nameOfCheck(check: ServiceCheck): string {
  return "url" in check ? `GET ${check.url}` : check.run;
}

/** Runs a check of a scenario, again and again until it is passed or its `within` is over. */
export async function runCheck(check: ServiceCheck, world: StepWorld): Promise<CheckResult> {
  const seen =
    "url" in check
      ? await checkAddress(check, world)
      : await tryUntil(check.within, world.signal, (secondsLeft) =>
          checkCommand(check.run, world, secondsLeft),
        );
  return { component: "", check: nameOfCheck(check), ...seen };
}

function checkAddress(check: Extract<ServiceCheck, { url: string }>, world: StepWorld): Promise<Observation> {
  const expectation = { url: world.fill(check.url), status: check.status, json: check.json ?? {} };
  return tryUntil(check.within, world.signal, (secondsLeft) =>
    checkUrl(expectation, world.signal, secondsLeft),
  );
}

async function checkCommand(command: string, world: StepWorld, limitSeconds?: number): Promise<Observation> {
  const result = await runCommand(command, { ...world, limitSeconds });
  world.onLeftRunning(result);
  const actual = [result.summary, ...result.tail.slice(-3)].join(" | ");
  const expected = "exit code 0";
  if (result.outcome === "succeeded") return { status: "passed", expected, actual: "exit code 0" };
  return { status: result.outcome === "not-runnable" ? "unverified" : "failed", expected, actual };
}
