import { ToolError, UserError } from "../errors.ts";
import { code, link, markdown, oneLine } from "../report/escape.ts";
import { type HttpOptions, type JsonAnswer, requestJson } from "./http.ts";
import { type Notice, noticeKey } from "./notice.ts";

const LABEL = "drillbook";
const PAGE = 100;
/** More open issues with the label than so many pages are not looked through. */
const MOST_PAGES = 10;

/** Where the issues are, from the runner's environment. */
export interface Repository {
  readonly apiUrl: string;
  /** `owner/name` */
  readonly name: string;
  readonly token: string;
}

type Env = Readonly<Record<string, string | undefined>>;

/** Reads `GITHUB_API_URL`, `GITHUB_REPOSITORY` and `GITHUB_TOKEN`; throws a UserError that says what is not there. */
export function repositoryOf(env: Env): Repository {
  const name = env.GITHUB_REPOSITORY ?? "";
  const token = env.GITHUB_TOKEN ?? "";
  if (!/^[\w.-]+\/[\w.-]+$/.test(name)) {
    throw new UserError("GitHub issues need GITHUB_REPOSITORY (owner/name), which a runner sets.");
  }
  if (token === "") {
    throw new UserError(
      "GitHub issues need a token: give the step the env GITHUB_TOKEN with github.token, and the job the permission issues: write.",
    );
  }
  return { apiUrl: (env.GITHUB_API_URL || "https://api.github.com").replace(/\/+$/, ""), name, token };
}

/**
 * Opens an issue for a verdict that is not `passed`, or brings the open one up to date; says so in it and closes it when
 * the verdict is `passed`. The issue of a subject is found by a label, which strangers cannot set, and a hidden marker.
 */
export async function updateIssue(
  repository: Repository,
  notice: Notice,
  options: HttpOptions,
): Promise<void> {
  const call = caller(repository, options);
  const marker = markerOf(notice);
  const open = await findIssue(call, marker);
  if (notice.verdict === "passed") {
    if (open === undefined) return;
    const run = notice.runUrl === null ? "" : ` (${link("workflow run", notice.runUrl)})`;
    await call("POST", `/issues/${open}/comments`, {
      body: `Passed again${run}: ${markdown(notice.headline)}`,
    });
    await call("PATCH", `/issues/${open}`, { state: "closed", state_reason: "completed" });
    return;
  }
  const title = oneLine(`${notice.service}: ${notice.title} is not passed`, 200);
  const content = { title, body: issueBody(notice, marker) };
  if (open === undefined) await call("POST", "/issues", { ...content, labels: [LABEL] });
  else await call("PATCH", `/issues/${open}`, content);
}

/** GitHub refuses a body of more than 65,536 characters: this has at most a third of it, escapes included. */
function issueBody(notice: Notice, marker: string): string {
  const parts = [marker, `**${notice.verdict.toUpperCase()}**: ${markdown(notice.headline, 500)}`];
  for (const [name, lines] of [
    ["Why", notice.reasons],
    ["What to do", notice.nextSteps],
  ] as const) {
    if (lines.length === 0) continue;
    const items = lines.slice(0, 10).map((line) => `- ${markdown(line, 500)}`);
    if (lines.length > items.length) items.push(`- … and ${lines.length - items.length} more`);
    parts.push(`## ${name}`, items.join("\n"));
  }
  if (notice.runUrl !== null) parts.push(link("Workflow run with the report", notice.runUrl));
  parts.push(
    `*Drillbook keeps this issue up to date and closes it when ${code(notice.subject)} is passed again.*`,
  );
  return parts.join("\n\n");
}

/** A comment must not hold `--`, so hyphens are spelled out. */
function markerOf(notice: Notice): string {
  return `<!-- ${encodeURIComponent(noticeKey(notice)).replaceAll("-", "%2D")} -->`;
}

type Call = (method: "GET" | "POST" | "PATCH", path: string, body?: unknown) => Promise<JsonAnswer>;

function caller(repository: Repository, options: HttpOptions): Call {
  return async (method, path, body) => {
    const answer = await requestJson(
      {
        receiver: "GitHub",
        url: `${repository.apiUrl}/repos/${repository.name}${path}`,
        method,
        headers: {
          accept: "application/vnd.github+json",
          authorization: `Bearer ${repository.token}`,
          "x-github-api-version": "2022-11-28",
        },
        ...(body === undefined ? {} : { body }),
      },
      options,
    );
    if (answer.status >= 200 && answer.status < 300) return answer;
    throw new ToolError(
      `GitHub refused to ${method === "GET" ? "list" : "write"} issues of ${repository.name} with status ${answer.status}: ${hint(answer.status)}.`,
    );
  };
}

function hint(status: number): string {
  if (status === 401) return "the token in GITHUB_TOKEN is not valid";
  if (status === 410) return "issues are switched off in this repository";
  return "the job needs permissions: issues: write";
}

async function findIssue(call: Call, marker: string): Promise<number | undefined> {
  for (let page = 1; page <= MOST_PAGES; page += 1) {
    const answer = await call("GET", `/issues?state=open&labels=${LABEL}&per_page=${PAGE}&page=${page}`);
    const issues = Array.isArray(answer.body) ? answer.body : [];
    for (const issue of issues) {
      const number = issueNumber(issue, marker);
      if (number !== undefined) return number;
    }
    if (issues.length < PAGE) return undefined;
  }
  return undefined;
}

function issueNumber(issue: unknown, marker: string): number | undefined {
  if (typeof issue !== "object" || issue === null || "pull_request" in issue) return undefined;
  const { number, body } = issue as { number?: unknown; body?: unknown };
  return typeof number === "number" && typeof body === "string" && body.includes(marker) ? number : undefined;
}
