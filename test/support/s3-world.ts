import type { S3StoreConfig } from "../../src/stores/config.ts";
import { openS3Store } from "../../src/stores/s3.ts";
import type { S3Tuning } from "../../src/stores/s3-client.ts";
import type { Store } from "../../src/stores/store.ts";
import { type TestContext, testContext } from "./context.ts";
import { type TroubledProxy, troubledProxy } from "./http.ts";
import { startS3, type TestS3 } from "./s3.ts";

/** Real waiting times would only make the tests slow. */
const QUICK: S3Tuning = {
  retry: { withinMs: 60_000, attempts: 4, baseMs: 1, capMs: 5 },
  connectMs: 10_000,
  idleMs: 30_000,
};

/** Gives a silent connection up soon; a slow machine may then need more attempts. */
export const IMPATIENT: S3Tuning = { ...QUICK, retry: { ...QUICK.retry, attempts: 20 }, idleMs: 500 };

/** An S3 server and a hop in front of it in which things can go wrong. */
export interface S3World {
  readonly s3: TestS3;
  readonly proxy: TroubledProxy;
  /** A store that goes through the hop, with a context of its own. */
  open(settings?: {
    readonly tuning?: S3Tuning;
    readonly config?: Partial<S3StoreConfig>;
    readonly env?: Readonly<Record<string, string>>;
  }): Promise<{ readonly store: Store; readonly context: TestContext }>;
  /** Closes the stores that were opened and lets requests through again. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

export async function startS3World(): Promise<S3World> {
  const s3 = await startS3();
  const proxy = await troubledProxy(s3.endpoint);
  const undo: (() => Promise<void>)[] = [];

  async function reset(): Promise<void> {
    proxy.trouble = undefined;
    for (const step of undo.splice(0)) await step();
  }

  return {
    s3,
    proxy,
    async open({ tuning = QUICK, config = {}, env = {} } = {}) {
      const context = await testContext({ env: { ...s3.env, ...env } });
      undo.push(async () => context[Symbol.asyncDispose]());
      const whole = {
        type: "s3",
        endpoint: proxy.url,
        bucket: s3.bucket,
        prefix: "shop",
        ...config,
      } as const;
      const store = await openS3Store(whole, "offsite", context, tuning);
      undo.push(async () => store.close());
      return { store, context };
    },
    reset,
    async close() {
      await reset();
      await proxy.close();
      await s3.close();
    },
  };
}
