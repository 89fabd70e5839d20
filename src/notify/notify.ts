import type { Context } from "../context.ts";
import { AbortedError, messageOf } from "../errors.ts";
import type { HttpOptions } from "./http.ts";
import { repositoryOf, updateIssue } from "./issue.ts";
import type { Notice } from "./notice.ts";
import { sendToPagerDuty } from "./pagerduty.ts";
import { sendToSlack } from "./slack.ts";
import { sendToWebhook } from "./webhook.ts";

/** `notify` of the runbook with its values filled. */
export interface Channels {
  readonly slack?: string | undefined;
  readonly pagerduty?: string | undefined;
  readonly webhook?: string | undefined;
  readonly issue?: boolean | undefined;
}

export type NotifyWhen = "on-failure" | "always" | "never";

export interface NotifyOutcome {
  /** Channels that took the notice. */
  readonly sent: readonly string[];
  /** One sentence for each that did not; already logged as warnings. The caller ends with an error after its outputs. */
  readonly failures: readonly string[];
}

export interface NotifyTuning extends Partial<Omit<HttpOptions, "signal">> {
  readonly pagerDutyEndpoint?: string;
}

/**
 * Tells the channels of a verdict. `on-failure`: Slack and the webhook hear only of verdicts that are not `passed`, while
 * PagerDuty and the issue also hear of `passed`, for it ends their alarm. A channel that fails does not stop the others.
 */
export async function notify(
  channels: Channels,
  when: NotifyWhen,
  notice: Notice,
  context: Pick<Context, "log" | "signal" | "env" | "mask">,
  tuning: NotifyTuning = {},
): Promise<NotifyOutcome> {
  if (when === "never") return { sent: [], failures: [] };
  const { slack, pagerduty, webhook, issue } = channels;
  for (const secret of [slack, pagerduty, webhook, context.env.GITHUB_TOKEN])
    if (secret) context.mask(secret);
  const { pagerDutyEndpoint, ...http } = tuning;
  const options = { signal: context.signal, ...http };
  const loud = when === "always" || notice.verdict !== "passed";

  const deliveries: [string, () => Promise<void>][] = [];
  if (slack && loud) deliveries.push(["Slack", () => sendToSlack(slack, notice, options)]);
  if (webhook && loud) deliveries.push(["webhook", () => sendToWebhook(webhook, notice, options)]);
  if (pagerduty)
    deliveries.push(["PagerDuty", () => sendToPagerDuty(pagerduty, notice, options, pagerDutyEndpoint)]);
  if (issue === true) {
    deliveries.push(["GitHub issue", async () => updateIssue(repositoryOf(context.env), notice, options)]);
  }

  const sent: string[] = [];
  const failures: string[] = [];
  await Promise.all(
    deliveries.map(async ([name, deliver]) => {
      try {
        await deliver();
        sent.push(name);
      } catch (error) {
        if (error instanceof AbortedError) throw error;
        const sentence = `Nobody was told through ${name}: ${messageOf(error)}`;
        context.log.warning(sentence);
        failures.push(sentence);
      }
    }),
  );
  return { sent, failures };
}
