import { describe, expect, it } from "vitest";
import { AbortedError } from "../../../src/errors.ts";
import type { Notice } from "../../../src/notify/notice.ts";
import { type Channels, type NotifyWhen, notify } from "../../../src/notify/notify.ts";
import type { Verdict } from "../../../src/record.ts";
import { testContext } from "../../support/context.ts";
import { freePort } from "../../support/free-port.ts";
import { HOSTILE, sampleRecord } from "../../unit/report/sample.ts";
import { type Answer, type Received, type Receiver, receive } from "./receiver.ts";

const SECRET = "T0000/B0000/s3cretTOKEN";

function notice(verdict: Verdict, changes: Partial<Notice> = {}): Notice {
  return {
    service: "shop",
    subject: "database-lost",
    title: "drill of database-lost",
    verdict,
    headline: `shop: the drill of database-lost is ${verdict}.`,
    reasons: verdict === "passed" ? [] : ["A check of db failed."],
    nextSteps: verdict === "passed" ? [] : ["Run the drill again."],
    runUrl: "https://github.com/acme/shop/actions/runs/42",
    payload: sampleRecord({ verdict }),
    ...changes,
  };
}

async function send(
  receiver: Receiver,
  verdict: Verdict,
  when: NotifyWhen,
  channels: Channels = {
    slack: `${receiver.url}/${SECRET}`,
    webhook: `${receiver.url}/hook`,
    pagerduty: "R0UTING",
    issue: true,
  },
  changes: Partial<Notice> = {},
) {
  const env = {
    GITHUB_TOKEN: "gh-t0ken",
    GITHUB_REPOSITORY: "acme/shop",
    GITHUB_API_URL: `${receiver.url}/api/`,
  };
  await using context = await testContext({ env });
  const tuning = {
    pagerDutyEndpoint: `${receiver.url}/v2/enqueue`,
    retryMs: 5,
    attempts: 3,
    timeoutMs: 2_000,
  };
  const outcome = await notify(channels, when, notice(verdict, changes), context, tuning);
  return { ...outcome, lines: context.lines, masked: context.masked };
}

/** Answers as the real services do; issues as given. */
function services(issues: () => unknown[] = () => []): (request: Received) => Answer {
  return ({ method, path }) => {
    if (path === "/v2/enqueue") return { status: 202, body: { status: "success" } };
    if (method === "GET") return { status: 200, body: path.endsWith("&page=1") ? issues() : [] };
    if (method === "POST" && path.startsWith("/api/")) return { status: 201, body: { number: 7 } };
    return { status: 200 };
  };
}

function paths(received: readonly Received[]): string[] {
  return received.map(({ method, path }) => `${method} ${path.split("?")[0]}`).sort();
}

function bodyOf<Body>(receiver: Receiver, index: number): Body {
  const found = receiver.received[index];
  if (found === undefined) throw new Error(`request ${index} was not received`);
  return found.body as Body;
}

describe("who is told", () => {
  it("of a verdict that is not passed: all channels", async () => {
    await using receiver = await receive(services());
    const { sent, failures } = await send(receiver, "failed", "on-failure");
    expect(failures).toEqual([]);
    expect([...sent].sort()).toEqual(["GitHub issue", "PagerDuty", "Slack", "webhook"]);
    expect(paths(receiver.received)).toEqual([
      "GET /api/repos/acme/shop/issues",
      "POST /" + SECRET,
      "POST /api/repos/acme/shop/issues",
      "POST /hook",
      "POST /v2/enqueue",
    ]);
  });

  it("of unverified too", async () => {
    await using receiver = await receive(services());
    expect((await send(receiver, "unverified", "on-failure")).sent).toHaveLength(4);
  });

  it("of passed, on-failure: only those with an alarm to end", async () => {
    await using receiver = await receive(services());
    await send(receiver, "passed", "on-failure");
    expect(paths(receiver.received)).toEqual(["GET /api/repos/acme/shop/issues", "POST /v2/enqueue"]);
  });

  it("of passed, always: all", async () => {
    await using receiver = await receive(services());
    expect((await send(receiver, "passed", "always")).sent).toHaveLength(4);
  });

  it("of anything, never: nobody", async () => {
    await using receiver = await receive(services());
    expect(await send(receiver, "failed", "never")).toMatchObject({ sent: [], failures: [] });
    expect(receiver.received).toEqual([]);
  });
});

describe("Slack", () => {
  it("gets the verdict, the reasons, the next steps and the run", async () => {
    await using receiver = await receive(services());
    await send(receiver, "failed", "on-failure", { slack: `${receiver.url}/${SECRET}` });
    const text = JSON.stringify(receiver.received[0]?.body);
    for (const part of [
      "*FAILED*",
      "A check of db failed.",
      "Run the drill again.",
      "<https://github.com/acme/shop/actions/runs/42|Workflow run>",
    ]) {
      expect(text).toContain(part);
    }
  });

  it("gets no markup out of hostile names, and no block that is too long", async () => {
    await using receiver = await receive(services());
    const changes = {
      headline: "<!channel> & <@U1>",
      reasons: Array.from({ length: 100 }, () => HOSTILE.join("")),
    };
    await send(receiver, "failed", "on-failure", { slack: `${receiver.url}/${SECRET}` }, changes);
    const { blocks, text } = bodyOf<{ text: string; blocks: { text?: { type: string; text: string } }[] }>(
      receiver,
      0,
    );
    expect(text).toBe("FAILED: &lt;!channel&gt; &amp; &lt;@U1&gt;");
    for (const block of blocks) {
      expect(block.text?.text.length ?? 0).toBeLessThanOrEqual(3000);
      if (block.text?.type === "mrkdwn") expect(block.text.text).not.toMatch(/<[!@]/);
    }
  });
});

describe("PagerDuty", () => {
  it("gets a trigger, and later a resolve with the same key", async () => {
    await using receiver = await receive(services());
    await send(receiver, "failed", "on-failure", { pagerduty: "R0UTING" });
    await send(receiver, "passed", "on-failure", { pagerduty: "R0UTING" });
    expect(receiver.received[0]?.body).toMatchObject({
      routing_key: "R0UTING",
      event_action: "trigger",
      dedup_key: "drillbook/shop/database-lost",
      payload: {
        severity: "critical",
        source: "shop",
        summary: "FAILED: shop: the drill of database-lost is failed.",
      },
    });
    expect(receiver.received[1]?.body).toEqual({
      routing_key: "R0UTING",
      event_action: "resolve",
      dedup_key: "drillbook/shop/database-lost",
    });
  });
});

describe("the webhook", () => {
  it("gets the drill record", async () => {
    await using receiver = await receive(services());
    await send(receiver, "failed", "on-failure", { webhook: `${receiver.url}/hook` });
    expect(receiver.received[0]?.body).toEqual(sampleRecord({ verdict: "failed" }));
  });
});

describe("the GitHub issue", () => {
  async function opened(): Promise<{ title: string; body: string; labels: string[] }> {
    await using receiver = await receive(services());
    await send(receiver, "failed", "on-failure", { issue: true });
    const post = receiver.received.find(({ method }) => method === "POST");
    expect(post?.headers.authorization).toBe("Bearer gh-t0ken");
    return post?.body as { title: string; body: string; labels: string[] };
  }

  it("is opened with a label, a hidden marker, the reasons and the run", async () => {
    const issue = await opened();
    expect(issue.title).toBe("shop: drill of database-lost is not passed");
    expect(issue.labels).toEqual(["drillbook"]);
    expect(issue.body).toMatch(/^<!-- drillbook%2Fshop%2Fdatabase%2Dlost -->\n/);
    expect(issue.body).toContain("- A check of db failed.");
    expect(issue.body).toContain("(https://github.com/acme/shop/actions/runs/42)");
  });

  it("is brought up to date when it is open already, and a pull request is not taken for it", async () => {
    const { body } = await opened();
    const issues = () => [
      { number: 3, body, pull_request: {} },
      { number: 4, body: body.replace("lost", "found") },
      { number: 5, body },
    ];
    await using receiver = await receive(services(issues));
    await send(receiver, "unverified", "on-failure", { issue: true });
    expect(paths(receiver.received)).toEqual([
      "GET /api/repos/acme/shop/issues",
      "PATCH /api/repos/acme/shop/issues/5",
    ]);
    expect(receiver.received[1]?.body).toMatchObject({ body: expect.stringContaining("**UNVERIFIED**") });
  });

  it("is closed with a comment when passed, and nothing is opened when there is none", async () => {
    const { body } = await opened();
    await using receiver = await receive(services(() => [{ number: 5, body }]));
    await send(receiver, "passed", "on-failure", { issue: true });
    expect(receiver.received.slice(1).map(({ method, path }) => `${method} ${path}`)).toEqual([
      "POST /api/repos/acme/shop/issues/5/comments",
      "PATCH /api/repos/acme/shop/issues/5",
    ]);
    expect(receiver.received[2]?.body).toEqual({ state: "closed", state_reason: "completed" });
    await using empty = await receive(services());
    await send(empty, "passed", "on-failure", { issue: true });
    expect(empty.received).toHaveLength(1);
  });

  it("is found on a later page", async () => {
    const { body } = await opened();
    await using receiver = await receive(({ method, path }) => {
      if (method !== "GET") return { status: 200 };
      const filler = Array.from({ length: 100 }, (_, index) => ({ number: 100 + index, body: "" }));
      return { status: 200, body: path.endsWith("&page=2") ? [{ number: 5, body }] : filler };
    });
    await send(receiver, "failed", "on-failure", { issue: true });
    expect(receiver.received.at(-1)).toMatchObject({
      method: "PATCH",
      path: "/api/repos/acme/shop/issues/5",
    });
  });

  it("holds no markup of hostile names and is never too long", async () => {
    await using receiver = await receive(services());
    const changes = {
      headline: HOSTILE.join(" "),
      reasons: Array.from({ length: 1000 }, () => HOSTILE.join(" ")),
    };
    await send(receiver, "failed", "on-failure", { issue: true }, changes);
    const { body } = bodyOf<{ body: string }>(receiver, 1);
    expect(body.length).toBeLessThan(65_536);
    expect(body.slice(body.indexOf("-->") + 3).replaceAll(/<\/?code>/g, "")).not.toMatch(/<[a-z!/]|@\w/i);
    expect(body).toContain("… and 990 more");
  });
});

describe("trouble", () => {
  it.each([429, 500, 503])("of status %i is tried again", async (status) => {
    await using receiver = await receive((_, count) => ({
      status: count < 3 ? status : 200,
      headers: { "retry-after": "0" },
    }));
    const { sent } = await send(receiver, "failed", "on-failure", { webhook: `${receiver.url}/hook` });
    expect(sent).toEqual(["webhook"]);
    expect(receiver.received).toHaveLength(3);
  });

  it("that stays is a warning that names the channel, and the others are told all the same", async () => {
    await using receiver = await receive((request) =>
      request.path.includes(SECRET) ? { status: 503 } : services()(request),
    );
    const { sent, failures, lines } = await send(receiver, "failed", "on-failure");
    expect([...sent].sort()).toEqual(["GitHub issue", "PagerDuty", "webhook"]);
    expect(failures).toEqual(["Nobody was told through Slack: Slack answered 503; 3 attempts were made."]);
    expect(lines).toEqual([`warning: ${failures[0]}`]);
  });

  it.each([
    [403, "put its address into the secret"],
    [302, "status 302"],
  ])("of status %i is not tried again", async (status, hint) => {
    await using receiver = await receive(() => ({
      status,
      headers: { location: "/elsewhere" },
      body: { error: SECRET },
    }));
    const { failures } = await send(receiver, "failed", "on-failure", { slack: `${receiver.url}/${SECRET}` });
    expect(failures[0]).toContain(hint);
    expect(receiver.received).toHaveLength(1);
  });

  it.each([
    [401, "the token in GITHUB_TOKEN is not valid"],
    [403, "issues: write"],
    [410, "issues are switched off"],
  ])("with GitHub, status %i, says what to do", async (status, hint) => {
    await using receiver = await receive(() => ({ status }));
    const { failures } = await send(receiver, "failed", "on-failure", { issue: true });
    expect(failures[0]).toContain(hint);
  });

  it("with a server that is not there or does not answer is told without the address", async () => {
    const port = await freePort();
    await using receiver = await receive(() => "hang");
    await using context = await testContext();
    const channels = { slack: `http://127.0.0.1:${port}/${SECRET}`, webhook: `${receiver.url}/${SECRET}` };
    const tuning = { retryMs: 1, attempts: 2, timeoutMs: 100 };
    const { failures } = await notify(channels, "always", notice("failed"), context, tuning);
    expect([...failures].sort()).toEqual([
      "Nobody was told through Slack: Slack could not be reached (ECONNREFUSED); 2 attempts were made.",
      "Nobody was told through webhook: The webhook did not answer in time; 2 attempts were made.",
    ]);
  });

  it("with an address that is none is told without the address", async () => {
    await using context = await testContext();
    const { failures } = await notify(
      { slack: `not-an-address/${SECRET}` },
      "always",
      notice("failed"),
      context,
    );
    expect(failures[0]).toContain("is no web address");
    expect(failures[0]).not.toContain("s3cret");
  });

  it("with a token that is not there names it", async () => {
    await using context = await testContext({ env: { GITHUB_REPOSITORY: "acme/shop" } });
    const { failures } = await notify({ issue: true }, "always", notice("failed"), context);
    expect(failures[0]).toContain("GITHUB_TOKEN");
  });

  it("never shows a secret, and masks them first", async () => {
    await using receiver = await receive(() => ({ status: 400, body: { message: SECRET } }));
    const { failures, lines, masked } = await send(receiver, "failed", "always");
    expect(failures).toHaveLength(4);
    expect([...failures, ...lines].join("\n")).not.toMatch(/s3cret|R0UTING|gh-t0ken/);
    expect(masked).toEqual(
      expect.arrayContaining([`${receiver.url}/${SECRET}`, "R0UTING", `${receiver.url}/hook`, "gh-t0ken"]),
    );
  });

  it("ends when the work is stopped", async () => {
    await using receiver = await receive(() => "hang");
    await using context = await testContext();
    const telling = notify({ webhook: `${receiver.url}/hook` }, "always", notice("failed"), context);
    setTimeout(() => context.abort(), 50);
    await expect(telling).rejects.toBeInstanceOf(AbortedError);
  });
});
