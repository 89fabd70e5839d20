import { setTimeout as sleep } from "node:timers/promises";
import { AbortedError, codeOf, ToolError, UserError } from "../errors.ts";

/** How requests are made; the defaults are for real services. */
export interface HttpOptions {
  readonly signal: AbortSignal;
  /** For one attempt. */
  readonly timeoutMs?: number;
  readonly attempts?: number;
  /** Before the second attempt; doubles after that. */
  readonly retryMs?: number;
}

export interface JsonRequest {
  /** Whom the messages name: the address itself may be a secret. */
  readonly receiver: string;
  readonly url: string;
  readonly method: "GET" | "POST" | "PATCH";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

export interface JsonAnswer {
  readonly status: number;
  /** Undefined when the answer is no JSON. */
  readonly body: unknown;
  readonly headers: Headers;
}

const LONGEST_WAIT_MS = 30_000;

/**
 * Sends a request and returns any answer below 500 that is not 429; those two and failures of the network are tried
 * again with growing, jittered pauses. Messages hold neither the address nor a header nor what was sent.
 */
export async function requestJson(request: JsonRequest, options: HttpOptions): Promise<JsonAnswer> {
  const { receiver, url } = request;
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new UserError(
      `The address for ${receiver} in the runbook is no web address: it must begin with https://.`,
    );
  }
  const attempts = options.attempts ?? 4;
  for (let attempt = 1; ; attempt += 1) {
    const result = await attemptOnce(request, options);
    if (!("trouble" in result)) return result;
    if (attempt >= attempts) {
      throw new ToolError(`${receiver} ${result.trouble}; ${attempts} attempts were made.`);
    }
    const pause = (options.retryMs ?? 1_000) * 2 ** (attempt - 1) * (0.5 + Math.random());
    await pauseFor(Math.min(Math.max(pause, result.waitMs), LONGEST_WAIT_MS), options.signal);
  }
}

interface Trouble {
  readonly trouble: string;
  readonly waitMs: number;
}

async function attemptOnce(request: JsonRequest, options: HttpOptions): Promise<JsonAnswer | Trouble> {
  const timeout = AbortSignal.timeout(options.timeoutMs ?? 10_000);
  try {
    const response = await fetch(request.url, {
      method: request.method,
      headers: {
        accept: "application/json",
        "content-type": "application/json",
        "user-agent": "drillbook",
        ...request.headers,
      },
      // A redirect could carry a secret to somebody else.
      redirect: "manual",
      signal: AbortSignal.any([options.signal, timeout]),
      ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
    });
    const text = await response.text();
    const { status } = response;
    if (status === 429 || status >= 500) {
      const wait = Number(response.headers.get("retry-after") ?? 0);
      return { trouble: `answered ${status}`, waitMs: Number.isFinite(wait) ? wait * 1000 : 0 };
    }
    return { status, body: parse(text), headers: response.headers };
  } catch (error) {
    if (options.signal.aborted) throw new AbortedError();
    if (timeout.aborted) return { trouble: "did not answer in time", waitMs: 0 };
    const code = error instanceof Error ? codeOf(error.cause) : undefined;
    return { trouble: `could not be reached${code === undefined ? "" : ` (${code})`}`, waitMs: 0 };
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function pauseFor(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { signal });
  } catch {
    throw new AbortedError();
  }
}

/** Throws a ToolError unless the answer is a success; `hint` says what to do. */
export function expectSuccess(receiver: string, answer: JsonAnswer, hint: string): void {
  if (answer.status >= 200 && answer.status < 300) return;
  throw new ToolError(`${receiver} refused the notification with status ${answer.status}: ${hint}.`);
}
