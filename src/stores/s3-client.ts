import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { S3Client, type S3ClientConfig } from "@aws-sdk/client-s3";
import { NodeHttpHandler, type NodeHttpHandlerOptions } from "@smithy/node-http-handler";
import type { Context } from "../context.ts";
import { UserError } from "../errors.ts";
import type { S3StoreConfig } from "./config.ts";
import { proxyFor, proxyPasswords } from "./proxy.ts";
import type { RetryPolicy } from "./retry.ts";

/** How patient the store is with its network. */
export interface S3Tuning {
  readonly retry: RetryPolicy;
  readonly connectMs: number;
  /** A connection on which nothing moves for so long is given up, in the middle of a body too. */
  readonly idleMs: number;
}

export const S3_TUNING: S3Tuning = {
  retry: { withinMs: 2 * 60_000, baseMs: 250, capMs: 20_000 },
  connectMs: 10_000,
  idleMs: 60_000,
};

/** More than any store here uses at once: a request that waits for a socket would count as one that can not connect. */
const MAX_SOCKETS = 256;

type Env = Context["env"];

/** The endpoint as the runbook or the environment names it; undefined for Amazon S3 itself. */
export function endpointOf(config: S3StoreConfig, name: string, env: Env): URL | undefined {
  const text = config.endpoint ?? set(env.AWS_ENDPOINT_URL_S3) ?? set(env.AWS_ENDPOINT_URL);
  if (text === undefined) return undefined;
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) {
    throw new UserError(
      `The endpoint of the store "${name}" is not a URL: write one such as "https://minio.example.com:9000".`,
    );
  }
  if (url.username !== "" || url.password !== "") {
    throw new UserError(
      `The endpoint of the store "${name}" holds credentials: remove them and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.`,
    );
  }
  return url;
}

export function isAws(endpoint: URL | undefined): boolean {
  return endpoint === undefined || /\.amazonaws\.com(\.cn)?$/.test(endpoint.hostname);
}

/**
 * A client that makes one attempt per call: retries are the store's own, because they must also cover bodies that
 * break off. Checksums beyond those that S3 demands are asked for on AWS only: other stores refuse them at times.
 */
export async function s3Client(
  config: S3StoreConfig,
  name: string,
  context: Context,
  tuning: S3Tuning,
): Promise<S3Client> {
  const { env } = context;
  const endpoint = endpointOf(config, name, env);
  const checksums = isAws(endpoint) ? "WHEN_SUPPORTED" : "WHEN_REQUIRED";
  const region = config.region ?? set(env.AWS_REGION) ?? set(env.AWS_DEFAULT_REGION);
  const credentials = staticCredentials(env, name);
  const profile = set(env.AWS_PROFILE);
  const pathStyle = config["path-style"] ?? !isAws(endpoint);

  const settings: S3ClientConfig = {
    maxAttempts: 1,
    forcePathStyle: pathStyle,
    requestChecksumCalculation: checksums,
    responseChecksumValidation: checksums,
    // Its waiting and its extra connection per upload cost more than a part that is refused now and then.
    expectContinueHeader: false,
    requestHandler: new NodeHttpHandler({
      connectionTimeout: tuning.connectMs,
      socketTimeout: tuning.idleMs,
      ...(await agents(hostOf(endpoint, config, pathStyle), env)),
    }),
  };
  if (endpoint !== undefined) settings.endpoint = endpoint.href;
  if (credentials !== undefined) settings.credentials = credentials;
  else if (profile !== undefined) settings.profile = profile;
  if (region !== undefined) settings.region = region;
  else if (endpoint !== undefined) settings.region = "us-east-1";

  for (const password of proxyPasswords(env)) context.mask(password);
  return new S3Client(settings);
}

/**
 * Asks for the credentials and the region once, so that a missing one is a sentence before any work is done, and
 * masks what is secret.
 */
export async function prepare(client: S3Client, name: string, context: Context): Promise<void> {
  const { secretAccessKey, sessionToken } = await client.config.credentials();
  context.mask(secretAccessKey);
  if (sessionToken !== undefined) context.mask(sessionToken);
  try {
    await client.config.region();
  } catch (cause) {
    throw new UserError(`The store "${name}" has no region: write region into it, or set AWS_REGION.`, {
      cause,
    });
  }
}

/** Where requests for objects go: what NO_PROXY is compared with. */
function hostOf(endpoint: URL | undefined, config: S3StoreConfig, pathStyle: boolean): URL {
  const host = new URL(endpoint ?? "https://s3.amazonaws.com");
  if (!pathStyle) host.hostname = `${config.bucket}.${host.hostname}`;
  return host;
}

function staticCredentials(env: Env, name: string): S3ClientConfig["credentials"] {
  const accessKeyId = set(env.AWS_ACCESS_KEY_ID);
  const secretAccessKey = set(env.AWS_SECRET_ACCESS_KEY);
  const sessionToken = set(env.AWS_SESSION_TOKEN);
  if (accessKeyId === undefined && secretAccessKey === undefined) return undefined;
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    const missing = accessKeyId === undefined ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY";
    throw new UserError(`${missing} is not set, so the store "${name}" can not be opened: set both keys.`);
  }
  return sessionToken === undefined
    ? { accessKeyId, secretAccessKey }
    : { accessKeyId, secretAccessKey, sessionToken };
}

/** A secret that does not exist reaches a job as an empty variable. */
function set(value: string | undefined): string | undefined {
  const trimmed = value?.trim();
  return trimmed === "" ? undefined : trimmed;
}

/** Agents for the endpoint's one host, with the proxy of the environment where there is one for it. */
async function agents(
  host: URL,
  env: Env,
): Promise<Pick<NodeHttpHandlerOptions, "httpAgent" | "httpsAgent">> {
  const options = { keepAlive: true, maxSockets: MAX_SOCKETS };
  const proxy = proxyFor(host.href, env);
  if (proxy === "") return { httpAgent: new HttpAgent(options), httpsAgent: new HttpsAgent(options) };
  if (!/^https?:/i.test(proxy)) {
    throw new UserError(
      `The proxy for ${host.host} is of a kind that is not supported: name one that begins with http:// or https:// in HTTPS_PROXY or HTTP_PROXY, or the host in NO_PROXY.`,
    );
  }
  const { HttpProxyAgent } = await import("http-proxy-agent");
  const { HttpsProxyAgent } = await import("https-proxy-agent");
  const tunnels = new HttpsProxyAgent(proxy, options);
  // It guesses this from the stack of its caller, wrongly when a tunnel becomes free, and then opens a new one.
  tunnels.isSecureEndpoint = () => true;
  return {
    // Plain requests name their host to the proxy in the request line, which the agent writes only on a new connection.
    httpAgent: new HttpProxyAgent(proxy, { ...options, keepAlive: false }),
    httpsAgent: tunnels,
  };
}
