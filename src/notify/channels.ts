import type { Context } from "../context.ts";
import { fillValue } from "../runbook/fill.ts";
import type { Runbook } from "../runbook/load.ts";
import type { Channels } from "./notify.ts";

/** `notify` of the runbook with its values filled; throws a UserError when a variable is not set. */
export function channelsOf(runbook: Runbook, env: Context["env"]): Channels {
  const { slack, pagerduty, webhook, issue } = runbook.config.notify;
  const fill = (key: string, text: string | undefined) =>
    text === undefined ? undefined : fillValue(runbook, ["notify", key], text, env);
  return {
    slack: fill("slack", slack),
    pagerduty: fill("pagerduty", pagerduty),
    webhook: fill("webhook", webhook),
    issue,
  };
}
