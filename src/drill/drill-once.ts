import type { Context } from "../context.ts";
import type { Contact } from "../report/markdown.ts";
import { loadRunbook } from "../runbook/load.ts";
import { openService } from "../service.ts";
import { parseTarget } from "../targets.ts";
import { type DrillOptions, type DrillOutcome, runDrill } from "./run.ts";

/** A drill as it is asked for: with the path of a runbook and a target as text. */
export interface DrillRequest
  extends Omit<DrillOptions, "runbook" | "service" | "target" | "targetText" | "runnerFacts"> {
  readonly runbookFile: string;
  readonly target: string;
  readonly facts: Readonly<Record<string, string>>;
}

/** Reads the runbook, opens its stores, drills, and closes them. Throws as {@link runDrill} does. */
export async function drillOnce(
  request: DrillRequest,
  context: Context,
): Promise<DrillOutcome & { readonly contacts: readonly Contact[] }> {
  const { runbookFile, target, facts, ...options } = request;
  const runbook = loadRunbook(runbookFile);
  const service = openService(runbook, context);
  try {
    const outcome = await runDrill(
      { ...options, runbook, service, target: parseTarget(target), targetText: target, runnerFacts: facts },
      context,
    );
    return { ...outcome, contacts: runbook.config.contacts ?? [] };
  } finally {
    await service.close();
  }
}
