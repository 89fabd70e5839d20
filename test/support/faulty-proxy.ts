import { createHash } from "node:crypto";
import { type IncomingMessage, request, type ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { answerS3Error, forward, type Listening, type Trouble, troubledProxy } from "./http.ts";
import { honourConditions } from "./s3-conditions.ts";

/**
 * What can go wrong between us and an S3 store:
 * `error` 500, 502 or 503 SlowDown · `throttle` 429 with Retry-After · `reset` a connection that is reset before the answer,
 * `reset-up` in the middle of an upload, `reset-down` of a download · `short` a body that ends cleanly before its
 * Content-Length, or before what was asked for with a Content-Length that agrees · `stall` silence in the middle of a body ·
 * `drip` a body in small drops · `flip-down`, `flip-up` a wrong bit in a download or an upload · `stale-list` a listing as
 * it was before the last changes · `lost-answer` a change that was made, but whose answer never comes.
 */
export const FAULTS = [
  "error",
  "throttle",
  "reset",
  "reset-up",
  "reset-down",
  "short",
  "stall",
  "drip",
  "flip-down",
  "flip-up",
  "stale-list",
  "lost-answer",
] as const;
export type Fault = (typeof FAULTS)[number];

export interface FaultRule {
  readonly fault: Fault;
  /** The share of the requests it can happen to, from 0 to 1. */
  readonly rate: number;
  /** Only requests of this kind; default: all that the fault can happen to. */
  readonly where?: ((method: string, url: string) => boolean) | undefined;
}

/** An HTTP hop in front of an S3 server in which faults happen by chance, the same ones for the same seed and requests. */
export interface FaultyProxy extends Listening {
  /** Set to change what goes wrong from now on. The first rule that hits is the one that happens. */
  rules: readonly FaultRule[];
  /** How often each fault happened. */
  readonly counts: Record<Fault, number>;
  readonly requests: readonly string[];
}

export interface FaultyProxyOptions {
  readonly seed: number;
  readonly rules?: readonly FaultRule[];
  /** For how long a stalled body is silent; 2 s unless given. */
  readonly stallMs?: number;
}

/** The hop honours `If-None-Match: *` and verifies what a request says of its body, as real stores do and s3rver does not. */
export async function startFaultyProxy(target: string, options: FaultyProxyOptions): Promise<FaultyProxy> {
  const chance = randomFrom(options.seed);
  const counts = Object.fromEntries(FAULTS.map((fault) => [fault, 0])) as Record<Fault, number>;
  const listings = new Map<string, Buffer[]>();
  /** Keys in the order in which they were written. */
  const written: string[] = [];
  const conditions = honourConditions(target);
  const closing = new AbortController();
  const hop = await troubledProxy(target);
  const happen: Record<Fault, Trouble> = {
    error: refuse([500, "InternalError"], [502, "BadGateway"], [503, "SlowDown"]),
    throttle: refuse([429, "TooManyRequests"]),
    reset: (incoming) => reset(incoming),
    "reset-up": (incoming) => {
      incoming.once("data", () => reset(incoming));
      return true;
    },
    "reset-down": down((answer, body, outgoing) => {
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      outgoing.write(body.subarray(0, at(body.length)), () => outgoing.socket?.resetAndDestroy());
    }),
    short: down((answer, body, outgoing) => {
      const length = at(body.length);
      const agrees = chance() < 0.5;
      outgoing.writeHead(answer.statusCode ?? 500, {
        ...answer.headers,
        "content-length": agrees ? length : body.length,
      });
      outgoing.write(body.subarray(0, length), () => (agrees ? outgoing.end() : outgoing.socket?.end()));
    }),
    stall: down(async (answer, body, outgoing) => {
      const length = at(body.length);
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      outgoing.write(body.subarray(0, length));
      await sleep(options.stallMs ?? 2_000, undefined, { signal: closing.signal });
      outgoing.end(body.subarray(length));
    }),
    drip: down(async (answer, body, outgoing) => {
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      const drop = Math.ceil(body.length / 10);
      for (let from = 0; from < body.length && !outgoing.destroyed; from += drop) {
        outgoing.write(body.subarray(from, from + drop));
        await sleep(20, undefined, { signal: closing.signal });
      }
      outgoing.end();
    }),
    "flip-down": down((answer, body, outgoing) => {
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers).end(flipped(body));
    }),
    "flip-up": async (incoming, outgoing) => {
      const body = flipped(await collect(incoming));
      const refusal = refusedBy(incoming, body);
      if (refusal !== undefined) return answerS3Error(outgoing, 400, refusal);
      const onward = request(
        new URL(incoming.url ?? "/", target),
        { method: incoming.method, headers: incoming.headers, agent: false },
        (answer) => {
          outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
          answer.pipe(outgoing);
        },
      );
      onward.on("error", () => outgoing.destroy());
      onward.end(body);
      return true;
    },
    "stale-list": down((answer, body, outgoing, incoming) => {
      const stale = remember(incoming, body).findLast((one) => !one.equals(body)) ?? withoutNewest(body);
      outgoing.writeHead(answer.statusCode ?? 500, { ...answer.headers, "content-length": stale.length });
      outgoing.end(stale);
    }),
    "lost-answer": (incoming, outgoing) => {
      forward(target, incoming, outgoing, (answer) => {
        answer.resume().on("end", () => outgoing.destroy());
      });
      return true;
    },
  };

  /** What this listing was like each time it changed. */
  function remember(incoming: IncomingMessage, body: Buffer): readonly Buffer[] {
    const known = listings.get(incoming.url ?? "") ?? [];
    listings.set(incoming.url ?? "", known);
    if (known.at(-1)?.equals(body) !== true) known.push(body);
    return known;
  }

  /** A listing without the object that was written last. */
  function withoutNewest(listing: Buffer): Buffer {
    const newest = `<Key>${written.at(-1)}</Key>`;
    return Buffer.from(
      listing
        .toString("utf8")
        .replaceAll(/<Contents>.*?<\/Contents>/gs, (entry) => (entry.includes(newest) ? "" : entry)),
    );
  }

  /** A place within a body, never its end. */
  function at(length: number): number {
    return Math.floor(chance() * length);
  }

  function flipped(body: Buffer): Buffer {
    const wrong = Buffer.from(body);
    const place = at(wrong.length);
    wrong[place] = (wrong[place] ?? 0) ^ (1 << Math.floor(chance() * 8));
    return wrong;
  }

  function refuse(...answers: readonly (readonly [number, string])[]): Trouble {
    return (incoming, outgoing) => {
      incoming.resume();
      const [status, code] = answers[at(answers.length)] ?? [500, "InternalError"];
      const headers: Record<string, string> = status === 429 ? { "retry-after": "1" } : {};
      return answerS3Error(outgoing, status, code, { headers });
    };
  }

  /** Spoils the body of an answer; one that refuses, or has no body, passes as it is. */
  function down(
    spoil: (
      answer: IncomingMessage,
      body: Buffer,
      outgoing: ServerResponse,
      incoming: IncomingMessage,
    ) => unknown,
  ): Trouble {
    return (incoming, outgoing) => {
      forward(target, incoming, outgoing, async (answer) => {
        try {
          const body = await collect(answer);
          const { "transfer-encoding": _, ...headers } = answer.headers;
          if ((answer.statusCode ?? 500) < 300 && body.length > 0) {
            await spoil(Object.assign(answer, { headers }), body, outgoing, incoming);
          } else {
            outgoing.writeHead(answer.statusCode ?? 502, answer.headers).end(body);
          }
        } catch {
          outgoing.destroy();
        }
      });
      return true;
    };
  }

  /** Passes a listing on and keeps it, to answer with it again when it is old. */
  function passListing(incoming: IncomingMessage, outgoing: ServerResponse): true {
    forward(target, incoming, outgoing, async (answer) => {
      const body = await collect(answer);
      remember(incoming, body);
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers).end(body);
    });
    return true;
  }

  hop.trouble = async (incoming, outgoing) => {
    if (await conditions(incoming, outgoing)) return true;
    const method = incoming.method ?? "";
    const url = incoming.url ?? "";
    for (const rule of proxy.rules) {
      if (!canHappen(rule.fault, incoming) || rule.where?.(method, url) === false) continue;
      if (chance() >= rule.rate) continue;
      counts[rule.fault] += 1;
      return await happen[rule.fault](incoming, outgoing);
    }
    if (method === "PUT") written.push(decodeURIComponent(url.split("?")[0] ?? "").replace(/^\/[^/]+\//, ""));
    return isListing(incoming) ? passListing(incoming, outgoing) : false;
  };

  const proxy: FaultyProxy = {
    ...hop,
    rules: options.rules ?? [],
    counts,
    async close() {
      closing.abort();
      await hop.close();
    },
  };
  return proxy;
}

function isListing({ method, url }: IncomingMessage): boolean {
  return method === "GET" && (url ?? "").includes("list-type=2");
}

function canHappen(fault: Fault, incoming: IncomingMessage): boolean {
  const { method = "" } = incoming;
  const changes = method === "PUT" || method === "POST" || method === "DELETE";
  if (fault === "lost-answer") return changes;
  if (fault === "reset-up") return changes && Number(incoming.headers["content-length"] ?? 0) > 0;
  // Only bodies of objects carry checksums; requests and answers in XML rely on TLS.
  if (fault === "flip-up") return method === "PUT" && Number(incoming.headers["content-length"] ?? 0) > 0;
  if (fault === "flip-down") return method === "GET" && !isListing(incoming);
  if (fault === "stale-list") return isListing(incoming);
  return method === "GET" || !["short", "stall", "drip", "reset-down"].includes(fault);
}

/** The code with which a store refuses a body that is not the one of its request's checksum; undefined when it takes it. */
function refusedBy({ headers }: IncomingMessage, body: Buffer): string | undefined {
  const sha256 = headers["x-amz-content-sha256"];
  const isDigest = typeof sha256 === "string" && /^[0-9a-f]{64}$/.test(sha256);
  if (isDigest && createHash("sha256").update(body).digest("hex") !== sha256)
    return "XAmzContentSHA256Mismatch";
  const md5 = headers["content-md5"];
  if (md5 !== undefined && createHash("md5").update(body).digest("base64") !== md5) return "BadDigest";
  return undefined;
}

function reset(incoming: IncomingMessage): true {
  incoming.socket.resetAndDestroy();
  return true;
}

async function collect(body: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
