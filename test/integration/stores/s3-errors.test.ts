import { readFile } from "node:fs/promises";
import { createServer } from "node:https";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { ToolError, UserError } from "../../../src/errors.ts";
import { openStore } from "../../../src/stores/open.ts";
import { DeletionRefused, readAll, type Store } from "../../../src/stores/store.ts";
import { once } from "../../support/bytes.ts";
import { testContext } from "../../support/context.ts";
import { freePort } from "../../support/free-port.ts";
import { answerS3Error, listen } from "../../support/http.ts";
import { type S3World, startS3World } from "../../support/s3-world.ts";

let world: S3World;

beforeAll(async () => {
  world = await startS3World();
});
afterAll(() => world.close());
afterEach(() => world.reset());

/** Every operation, each with the permission it needs. */
const OPERATIONS: readonly (readonly [string, string, (store: Store) => Promise<unknown>])[] = [
  ["put", "s3:PutObject", (store) => store.put("a", once("x"))],
  ["create", "s3:(Put|Get)Object", (store) => store.create("a", Buffer.from("x"))],
  ["get", "s3:GetObject", async (store) => readAll(await store.get("a"))],
  ["stat", "s3:GetObject", (store) => store.stat("a")],
  ["list", "s3:ListBucket", (store) => store.list("")[Symbol.asyncIterator]().next()],
  ["delete", "s3:DeleteObject", (store) => store.delete(["a"])],
];

async function failureOf(work: Promise<unknown>): Promise<Error> {
  try {
    await work;
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error("It did not fail.");
}

describe.each(OPERATIONS)("%s", (_name, permission, run) => {
  test("names the permission it lacks", async () => {
    world.proxy.trouble = (request, response) => {
      request.resume();
      return answerS3Error(response, 403, "AccessDenied");
    };
    const { store } = await world.open();
    const error = await failureOf(run(store));
    expect(error).toBeInstanceOf(ToolError);
    expect(error.message).toMatch(new RegExp(`^s3://backups/shop/a?: .*${permission}`));
  });

  test("says that the bucket does not exist", async () => {
    const { store } = await world.open({ config: { bucket: "nowhere" } });
    const error = await failureOf(run(store));
    expect(error).toBeInstanceOf(ToolError);
    expect(error.message).toMatch(/the bucket "nowhere" does not exist at .* store "offsite"/);
  });

  test("says that the access key is unknown", async () => {
    const { store } = await world.open({ env: { AWS_ACCESS_KEY_ID: "SOMEBODY" } });
    const error = await failureOf(run(store));
    expect(error).toBeInstanceOf(ToolError);
    expect(error.message).toMatch(/does not know the access key; check AWS_ACCESS_KEY_ID/);
  });

  test("says that the store can not be reached", async () => {
    const endpoint = `http://127.0.0.1:${await freePort()}`;
    const { store } = await world.open({ config: { endpoint } });
    const error = await failureOf(run(store));
    expect(error).toBeInstanceOf(ToolError);
    expect(error.message).toMatch(/nothing answers at 127\.0\.0\.1:\d+; check endpoint and port/);
    expect(error.cause).toMatchObject({ code: "ECONNREFUSED" });
  });
});

describe("the answer of the store becomes a sentence:", () => {
  test.each([
    [403, "SignatureDoesNotMatch", {}, /AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID/],
    [400, "ExpiredToken", {}, /the credentials have expired/],
    [400, "InvalidToken", {}, /AWS_SESSION_TOKEN is not valid/],
    [403, "RequestTimeTooSkewed", {}, /set the clock/],
    [
      301,
      "PermanentRedirect",
      { headers: { "x-amz-bucket-region": "eu-west-1" } },
      /write region: eu-west-1/,
    ],
    [
      400,
      "AuthorizationHeaderMalformed",
      { fields: "<Region>eu-west-3</Region>" },
      /write region: eu-west-3/,
    ],
    [403, "InvalidObjectState", {}, /archive storage class/],
    [507, "XMinioStorageFull", {}, /is full or its quota is used up/],
    [507, "InsufficientStorage", {}, /is full or its quota is used up/],
    [503, "ServiceUnavailable", {}, /keeps answering 503 \(ServiceUnavailable\); try again later/],
    [400, "SomethingNew", {}, /answered 400 \(SomethingNew\) to s3:PutObject: It is SomethingNew/],
  ])("%i %s", async (status, code, extra, sentence) => {
    world.proxy.trouble = (request, response) => {
      request.resume();
      return answerS3Error(response, status, code, extra);
    };
    const { store } = await world.open();
    const error = await failureOf(store.put("a", once("x")));
    expect(error).toBeInstanceOf(ToolError);
    expect(error.message).toMatch(sentence);
    expect(error.message).toContain("s3://backups/shop/a");
    expect(error.message).not.toContain("\n");
  });

  test("a look-up says why it was refused although the answer to HEAD has no body", async () => {
    world.proxy.trouble = (_request, response) => answerS3Error(response, 400, "ExpiredToken");
    const { store } = await world.open();
    await expect(store.stat("a")).rejects.toThrow(/the credentials have expired/);
  });

  test("a host name that nobody knows", async () => {
    const { store } = await world.open({ config: { endpoint: "http://s3.invalid" } });
    await expect(store.put("a", once("x"))).rejects.toThrow(
      /the name of s3\.invalid is not known; check endpoint/,
    );
  });

  test("a certificate that is not trusted, and a server that speaks no TLS", async () => {
    const tls = new URL("../../support/tls/", import.meta.url);
    const server = createServer({
      cert: await readFile(new URL("localhost.crt", tls)),
      key: await readFile(new URL("localhost.key", tls)),
    });
    const { port, close } = await listen(server);
    try {
      const untrusted = await world.open({ config: { endpoint: `https://localhost:${port}` } });
      await expect(untrusted.store.put("a", once("x"))).rejects.toThrow(
        /no secure connection to localhost:\d+: its certificate is not trusted here; .* NODE_EXTRA_CA_CERTS/,
      );
      const plain = world.proxy.url.replace("http:", "https:");
      const wrong = await world.open({ config: { endpoint: plain } });
      await expect(wrong.store.put("a", once("x"))).rejects.toThrow(/does not speak TLS; write http:\/\//);
    } finally {
      await close();
    }
  });
});

describe("a batch of deletions", () => {
  test("names the object that could not be deleted", async () => {
    world.proxy.trouble = (request, response) => {
      request.resume();
      response.writeHead(200, { "content-type": "application/xml" });
      response.end(
        "<DeleteResult><Error><Key>shop/b</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>",
      );
      return true;
    };
    const { store } = await world.open();
    await expect(store.delete(["a", "b"])).rejects.toThrow(
      /^s3:\/\/backups\/shop\/b: .* need s3:DeleteObject/,
    );
  });

  test.each([
    ["AccessDenied", "Access Denied because object protected by object lock.", true],
    ["InvalidRequest", "Object is WORM protected and cannot be overwritten", true],
    ["ObjectLockedByBucketPolicy", "no", true],
    ["InternalError", "We encountered an internal error.", false],
  ])("tells a refusal (%s) from a failure", async (code, message, refused) => {
    world.proxy.trouble = (request, response) => {
      request.resume();
      const error = `<Error><Key>shop/b</Key><Code>${code}</Code><Message>${message}</Message></Error>`;
      response.writeHead(200, { "content-type": "application/xml" });
      response.end(`<DeleteResult>${error}</DeleteResult>`);
      return true;
    };
    const { store } = await world.open();
    const error = await store.delete(["a", "b"]).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ToolError);
    expect(error instanceof DeletionRefused).toBe(refused);
  });
});

describe("opening a store", () => {
  const config = { type: "s3", bucket: "b", endpoint: "http://127.0.0.1:9" } as const;

  async function open(env: Record<string, string>, over: object = {}): Promise<Store> {
    await using context = await testContext({ env });
    return await openStore({ ...config, ...over }, "offsite", context);
  }

  test("asks for credentials when there are none", async () => {
    const saved = { ...process.env };
    // The SDK's own chain reads the process: nothing there may answer in place of a person's machine.
    Object.assign(process.env, {
      AWS_EC2_METADATA_DISABLED: "true",
      AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
      AWS_CONFIG_FILE: "/dev/null",
    });
    for (const name of ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"])
      delete process.env[name];
    try {
      const error = await failureOf(open({ AWS_ACCESS_KEY_ID: "", AWS_SECRET_ACCESS_KEY: "" }));
      expect(error).toBeInstanceOf(UserError);
      expect(error.message).toMatch(
        /^No credentials were found for the store "offsite": set AWS_ACCESS_KEY_ID/,
      );
    } finally {
      process.env = saved;
    }
  });

  test.each([
    [{ AWS_ACCESS_KEY_ID: "a" }, {}, /^AWS_SECRET_ACCESS_KEY is not set/],
    [{ AWS_SECRET_ACCESS_KEY: "a" }, {}, /^AWS_ACCESS_KEY_ID is not set/],
    [{}, { endpoint: "minio:9000" }, /The endpoint of the store "offsite" is not a URL/],
    [{}, { endpoint: "https://me:hidden@minio" }, /holds credentials: remove them/],
    [
      { ALL_PROXY: "socks5://hidden:1" },
      {},
      /is of a kind that is not supported: name one that begins with http/,
    ],
    [{}, { prefix: "../other" }, /prefix "\.\.\/other" of the store "offsite" is not a path/],
  ])("refuses %j %j", async (env, over, sentence) => {
    const error = await failureOf(open(env, over));
    expect(error).toBeInstanceOf(UserError);
    expect(error.message).toMatch(sentence);
    expect(error.message).not.toContain("hidden");
  });

  test("masks what is secret", async () => {
    const env = {
      AWS_ACCESS_KEY_ID: "the-key-id",
      AWS_SECRET_ACCESS_KEY: "the-secret-key",
      AWS_SESSION_TOKEN: "the-token",
      HTTPS_PROXY: "http://user:the-password@proxy:3128",
    };
    await using context = await testContext({ env });
    const store = await openStore(config, "offsite", context);
    store.close();
    expect(context.masked.toSorted()).toEqual(["the-password", "the-secret-key", "the-token"]);
  });
});
