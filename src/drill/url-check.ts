import { isDeepStrictEqual } from "node:util";
import { AbortedError, codeOf, messageOf, UserError } from "../errors.ts";
import { meets, parseExpectation } from "../expect.ts";
import type { Observation } from "./retry.ts";

export interface UrlExpectation {
  readonly url: string;
  readonly status: number;
  /** Dotted paths into the JSON answer, and what stands there: a value, or an expectation such as `>= 1`. */
  readonly json: Readonly<Record<string, unknown>>;
}

const TRY_SECONDS = 10;
const LONGEST_BODY = 5 * 2 ** 20;

/**
 * Asks once with GET and compares. No answer is a failed check, for what should be up is not. Redirects are not followed:
 * a login page that answers 200 must not pass for the page behind it. Throws AbortedError.
 */
export async function checkUrl(
  expectation: UrlExpectation,
  signal: AbortSignal,
  secondsLeft = TRY_SECONDS,
): Promise<Observation> {
  const wanted = Object.entries(expectation.json);
  const expected = [
    `status ${expectation.status}`,
    ...wanted.map(([path, value]) => `${path} ${spell(value)}`),
  ].join(", ");
  if (!URL.canParse(expectation.url) || !/^https?:$/.test(new URL(expectation.url).protocol)) {
    throw new UserError("The url of the check is no web address: it must begin with http:// or https://.");
  }
  const { username, password } = new URL(expectation.url);
  // `fetch` refuses them, with an error that repeats them.
  if (username !== "" || password !== "") {
    throw new UserError(
      "The url of the check holds a user or a password, which cannot be sent: use a check with run, such as curl.",
    );
  }
  const timeout = AbortSignal.timeout(Math.ceil(Math.min(secondsLeft, TRY_SECONDS) * 1000));
  try {
    const response = await fetch(expectation.url, {
      redirect: "manual",
      headers: { accept: wanted.length > 0 ? "application/json" : "*/*", "user-agent": "drillbook" },
      signal: AbortSignal.any([signal, timeout]),
    });
    const seen = [`status ${response.status}${redirection(response)}`];
    if (response.status !== expectation.status || wanted.length === 0) {
      await response.body?.cancel();
      const status = response.status === expectation.status ? "passed" : "failed";
      return { status, expected, actual: seen.join(", ") };
    }
    const body = await readJson(response);
    if (body === undefined)
      return { status: "failed", expected, actual: `${seen[0]}, but the answer is no JSON` };
    const found = wanted.map(([path, value]) => compare(body.value, path, value));
    return {
      status: found.every(({ met }) => met) ? "passed" : "failed",
      expected,
      actual: [...seen, ...found.map(({ actual }) => actual)].join(", "),
    };
  } catch (error) {
    if (signal.aborted) throw new AbortedError();
    const limit = Math.min(secondsLeft, TRY_SECONDS);
    const actual = timeout.aborted
      ? `no answer within ${limit.toFixed(1)} s`
      : `no answer: ${reasonOf(error)}`;
    return { status: "failed", expected, actual };
  }
}

/** Where a redirect leads, without what may hold a token: user, password, query and fragment. */
function redirection(response: Response): string {
  const target = response.headers.get("location");
  if (target === null) return "";
  if (!URL.canParse(target, response.url)) return " to no address";
  const { origin, pathname } = new URL(target, response.url);
  return ` to ${origin === new URL(response.url).origin ? "" : origin}${pathname}`;
}

/** `fetch failed` says nothing; its cause does. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  return codeOf(cause) ?? messageOf(cause ?? error);
}

async function readJson(response: Response): Promise<{ readonly value: unknown } | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > LONGEST_BODY) return undefined;
    chunks.push(chunk);
  }
  try {
    return { value: JSON.parse(Buffer.concat(chunks).toString("utf8")) };
  } catch {
    return undefined;
  }
}

function compare(
  body: unknown,
  path: string,
  wanted: unknown,
): { readonly met: boolean; readonly actual: string } {
  const found = lookUp(body, path.split("."));
  if (found === undefined) return { met: false, actual: `${path} is absent` };
  const rule = ruleOf(wanted);
  const met =
    rule === undefined
      ? isDeepStrictEqual(found.value, wanted)
      : isScalar(found.value) && meets(rule, String(found.value));
  return { met, actual: `${path} = ${JSON.stringify(found.value).slice(0, 500)}` };
}

function lookUp(value: unknown, path: readonly string[]): { readonly value: unknown } | undefined {
  const [key, ...rest] = path;
  if (key === undefined) return { value };
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
  return lookUp((value as Record<string, unknown>)[key], rest);
}

function isScalar(value: unknown): value is string | number | boolean {
  return ["string", "number", "boolean"].includes(typeof value);
}

/** A text that begins with an operator is an expectation; any other value stands for itself. */
function ruleOf(wanted: unknown): ReturnType<typeof parseExpectation> | undefined {
  return typeof wanted === "string" && /^(?:>=|<=|!=|=|<|>|~)/.test(wanted)
    ? parseExpectation(wanted)
    : undefined;
}

function spell(wanted: unknown): string {
  return ruleOf(wanted)?.text ?? `= ${JSON.stringify(wanted)}`;
}
