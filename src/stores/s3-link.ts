import type { S3Client } from "@aws-sdk/client-s3";
import type { Context } from "../context.ts";
import { messageOf } from "../errors.ts";
import type { S3StoreConfig } from "./config.ts";
import { prefixOf } from "./keys.ts";
import { proxyFor } from "./proxy.ts";
import { withRetries } from "./retry.ts";
import { endpointOf, prepare, type S3Tuning, s3Client } from "./s3-client.ts";
import { explainS3Error, type S3Call, type S3Place, s3Code, s3RetryAdvice, statusOf } from "./s3-errors.ts";
import { abortedBy, throwIfAborted } from "./signals.ts";

/** A job that stands still for longer than this should say why. */
const NOTICEABLE_MS = 5_000;

interface SendOptions {
  readonly abortSignal: AbortSignal;
}

type Send<T> = (options: SendOptions) => Promise<T>;

/** One bucket and prefix, with retries and sentences around every request. */
export interface S3Link {
  readonly client: S3Client;
  /** What the runbook calls the store. */
  readonly name: string;
  readonly bucket: string;
  /** With its closing slash, or "". */
  readonly prefix: string;
  readonly tuning: S3Tuning;
  readonly log: Context["log"];
  describe(key: string): string;
  /** The call for messages: what permission it needs, on which key. */
  call(action: string, key: string): S3Call;
  /** Sends with retries; throws what S3 answered last, or an AbortedError. */
  attempt<T>(signal: AbortSignal, send: Send<T>): Promise<T>;
  /** As `attempt`, but what it throws is a sentence. */
  request<T>(call: S3Call, signal: AbortSignal, send: Send<T>): Promise<T>;
  explain(error: unknown, call: S3Call): Error;
}

export async function openLink(
  config: S3StoreConfig,
  name: string,
  context: Context,
  tuning: S3Tuning,
): Promise<S3Link> {
  const { bucket } = config;
  const prefix = prefixOf(config.prefix, name);
  const endpoint = endpointOf(config, name, context.env);
  const place: S3Place = { bucket, name, host: hostInWords(endpoint, context.env) };
  const client = await s3Client(config, name, context, tuning);
  let reached = false;

  async function attempt<T>(signal: AbortSignal, send: Send<T>): Promise<T> {
    throwIfAborted(signal);
    try {
      const answer = await withRetries(
        tuning.retry,
        signal,
        () => send({ abortSignal: signal }),
        (error) => {
          reached ||= statusOf(error) !== undefined;
          return s3RetryAdvice(error, reached);
        },
        (error, pause) => {
          const why = `${s3Code(error)} ${messageOf(error)}`.slice(0, 200);
          const line = `Store ${name}: trying again in ${Math.round(pause)} ms after ${why}`;
          if (pause < NOTICEABLE_MS) context.log.debug(line);
          else context.log.info(line);
        },
      );
      reached = true;
      return answer;
    } catch (error) {
      if (signal.aborted) throw abortedBy(signal);
      throw error;
    }
  }

  const link: S3Link = {
    client,
    name,
    bucket,
    prefix,
    tuning,
    log: context.log,
    describe: (key) => `s3://${bucket}/${prefix}${key}`,
    call: (action, key) => ({ action, subject: link.describe(key) }),
    attempt,
    explain: (error, call) => explainS3Error(error, call, place),
    async request(call, signal, send) {
      try {
        return await attempt(signal, send);
      } catch (error) {
        throw link.explain(error, call);
      }
    },
  };

  try {
    await prepare(client, name, context);
  } catch (error) {
    client.destroy();
    throw link.explain(error, link.call("credentials", ""));
  }
  return link;
}

function hostInWords(endpoint: URL | undefined, env: Context["env"]): string {
  const host = endpoint?.host ?? "Amazon S3";
  const proxy = URL.parse(proxyFor(endpoint?.href ?? "https://s3.amazonaws.com", env));
  return proxy === null ? host : `${host} (through the proxy ${proxy.host})`;
}
