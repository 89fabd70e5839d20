import { expectSuccess, type HttpOptions, requestJson } from "./http.ts";
import { type Notice, noticeKey } from "./notice.ts";

const ENDPOINT = "https://events.pagerduty.com/v2/enqueue";

/**
 * Triggers a PagerDuty alert, or resolves the one of the same subject when the verdict is `passed`. Resolving what is not
 * open does nothing there. Format: PagerDuty's Events API v2. `endpoint` is for accounts in another service region.
 */
export async function sendToPagerDuty(
  routingKey: string,
  notice: Notice,
  options: HttpOptions,
  endpoint = ENDPOINT,
): Promise<void> {
  const body = pagerDutyEvent(routingKey, notice);
  const answer = await requestJson({ receiver: "PagerDuty", url: endpoint, method: "POST", body }, options);
  expectSuccess(
    "PagerDuty",
    answer,
    "the routing key must be the integration key of an Events API v2 integration",
  );
}

function pagerDutyEvent(routingKey: string, notice: Notice): Record<string, unknown> {
  const key = { routing_key: routingKey, dedup_key: noticeKey(notice).slice(0, 255) };
  if (notice.verdict === "passed") return { ...key, event_action: "resolve" };
  const text = `${notice.verdict.toUpperCase()}: ${notice.headline}`;
  return {
    ...key,
    event_action: "trigger",
    client: "Drillbook",
    ...(notice.runUrl === null
      ? {}
      : { client_url: notice.runUrl, links: [{ href: notice.runUrl, text: "Workflow run" }] }),
    payload: {
      summary: text.length <= 1_024 ? text : `${text.slice(0, 1_023)}…`,
      severity: notice.verdict === "failed" ? "critical" : "error",
      source: notice.service,
      component: notice.subject,
      class: "recovery drill",
      custom_details: {
        verdict: notice.verdict,
        // An event may have 512 KB.
        reasons: notice.reasons.slice(0, 20).map((reason) => reason.slice(0, 2_000)),
        next_steps: notice.nextSteps.slice(0, 20).map((step) => step.slice(0, 2_000)),
      },
    },
  };
}
