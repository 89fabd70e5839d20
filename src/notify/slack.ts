import { expectSuccess, type HttpOptions, requestJson } from "./http.ts";
import type { Notice } from "./notice.ts";

const ICONS = { passed: ":white_check_mark:", failed: ":x:", unverified: ":warning:" } as const;
/** Slack refuses a text block of more than 3000 characters. */
const LONGEST = 2_900;

/** Posts to a Slack incoming webhook. Format: Slack's "Incoming webhooks" and "Block Kit" references. */
export async function sendToSlack(url: string, notice: Notice, options: HttpOptions): Promise<void> {
  const answer = await requestJson(
    { receiver: "Slack", url, method: "POST", body: slackMessage(notice) },
    options,
  );
  expectSuccess("Slack", answer, "make a new incoming webhook and put its address into the secret");
}

/** The message's body. Everything that comes from outside stands in plain text blocks or is escaped. */
function slackMessage(notice: Notice): Record<string, unknown> {
  const title = `${ICONS[notice.verdict]} *${notice.verdict.toUpperCase()}*: ${mrkdwn(notice.headline)}`;
  const blocks: unknown[] = [{ type: "section", text: { type: "mrkdwn", text: cut(title) } }];
  for (const [name, lines] of [
    ["Why", notice.reasons],
    ["What to do", notice.nextSteps],
  ] as const) {
    if (lines.length === 0) continue;
    const shown = lines.slice(0, 10).map((line) => `• ${line}`);
    if (lines.length > shown.length) shown.push(`… and ${lines.length - shown.length} more`);
    blocks.push({
      type: "section",
      text: { type: "plain_text", emoji: false, text: cut(`${name}\n${shown.join("\n")}`) },
    });
  }
  if (notice.runUrl !== null) {
    const target = encodeURI(notice.runUrl).replaceAll(/[|>]/g, "");
    blocks.push({
      type: "context",
      elements: [{ type: "mrkdwn", text: `<${mrkdwn(target)}|Workflow run>` }],
    });
  }
  return { text: cut(`${notice.verdict.toUpperCase()}: ${mrkdwn(notice.headline)}`), blocks };
}

function mrkdwn(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function cut(text: string): string {
  return text.length <= LONGEST ? text : `${text.slice(0, LONGEST - 1)}…`;
}
