import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { tryUntil } from "../../../src/drill/retry.ts";
import { checkUrl } from "../../../src/drill/url-check.ts";
import { AbortedError, UserError } from "../../../src/errors.ts";
import { freePort } from "../../support/free-port.ts";

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

async function serve(handler: Handler): Promise<{ url: string } & AsyncDisposable> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/readyz`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const ready: Handler = (_, response) => {
  response.setHeader("content-type", "application/json");
  response.end(
    JSON.stringify({
      ok: true,
      database: { migrations_current: true, rows: 42, tags: ["a", "b"], "": null },
    }),
  );
};

const never = new AbortController().signal;

describe("a check of a URL", () => {
  it("passes with the status that is expected", async () => {
    await using server = await serve(ready);
    expect(await checkUrl({ url: server.url, status: 200, json: {} }, never)).toEqual({
      status: "passed",
      expected: "status 200",
      actual: "status 200",
    });
  });

  it("fails with another status", async () => {
    await using server = await serve((_, response) => response.writeHead(503).end());
    expect(await checkUrl({ url: server.url, status: 200, json: {} }, never)).toMatchObject({
      status: "failed",
      actual: "status 503",
    });
    expect((await checkUrl({ url: server.url, status: 503, json: {} }, never)).status).toBe("passed");
  });

  it("does not follow a redirect, and says where it goes", async () => {
    let asked = 0;
    await using server = await serve((request, response) => {
      asked += 1;
      if (request.url === "/login") return ready(request, response);
      response.writeHead(302, { location: "/login" }).end();
    });
    expect(await checkUrl({ url: server.url, status: 200, json: {} }, never)).toMatchObject({
      status: "failed",
      actual: "status 302 to /login",
    });
    expect(asked).toBe(1);
    expect((await checkUrl({ url: server.url, status: 302, json: {} }, never)).status).toBe("passed");
  });

  it("never repeats what a redirect may carry as a secret", async () => {
    const location = "http://user:s3cret@login.example:81/in?token=s3cret#s3cret";
    await using server = await serve((_, response) => response.writeHead(302, { location }).end());
    expect(await checkUrl({ url: server.url, status: 200, json: {} }, never)).toMatchObject({
      actual: "status 302 to http://login.example:81/in",
    });
  });

  it("refuses a user and a password in the address, without repeating them", async () => {
    await using server = await serve(ready);
    const url = server.url.replace("//", "//user:s3cret@");
    const error: unknown = await checkUrl({ url, status: 200, json: {} }, never).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(UserError);
    expect(String(error)).not.toContain("s3cret");
  });

  it.each<[string, unknown, "passed" | "failed"]>([
    ["database.migrations_current", true, "passed"],
    ["database.migrations_current", false, "failed"],
    ["database.migrations_current", "true", "failed"],
    ["database.migrations_current", "= true", "passed"],
    ["database.rows", 42, "passed"],
    ["database.rows", "42", "failed"],
    ["database.rows", ">= 42", "passed"],
    ["database.rows", "> 42", "failed"],
    ["database.tags.1", "b", "passed"],
    ["database.tags", "b", "failed"],
    ["database.tags", "= b", "failed"],
    ["database.absent", null, "failed"],
    ["database.", null, "passed"],
    ["constructor", "~ .", "failed"],
    ["ok.length", "~ .", "failed"],
  ])("compares %s with %j: %s", async (path, value, status) => {
    await using server = await serve(ready);
    expect((await checkUrl({ url: server.url, status: 200, json: { [path]: value } }, never)).status).toBe(
      status,
    );
  });

  it("says what was expected and what was there", async () => {
    await using server = await serve(ready);
    const json = { "database.rows": ">= 100", ok: true, missing: 1 };
    expect(await checkUrl({ url: server.url, status: 200, json }, never)).toEqual({
      status: "failed",
      expected: "status 200, database.rows >= 100, ok = true, missing = 1",
      actual: "status 200, database.rows = 42, ok = true, missing is absent",
    });
  });

  it("fails when the answer is no JSON, or endless", async () => {
    await using text = await serve((_, response) => response.end("<html>"));
    expect(await checkUrl({ url: text.url, status: 200, json: { ok: true } }, never)).toMatchObject({
      status: "failed",
      actual: "status 200, but the answer is no JSON",
    });
    await using endless = await serve((_, response) => {
      const send = (): void => {
        while (response.write("x".repeat(65_536)));
        response.once("drain", send);
      };
      send();
    });
    expect((await checkUrl({ url: endless.url, status: 200, json: { ok: true } }, never)).status).toBe(
      "failed",
    );
  });

  it("fails when nothing listens, or nothing answers", async () => {
    const port = await freePort();
    expect(await checkUrl({ url: `http://127.0.0.1:${port}/`, status: 200, json: {} }, never)).toMatchObject({
      status: "failed",
      actual: "no answer: ECONNREFUSED",
    });
    await using silent = await serve(() => undefined);
    expect(await checkUrl({ url: silent.url, status: 200, json: {} }, never, 0.2)).toMatchObject({
      status: "failed",
      actual: "no answer within 0.2 s",
    });
  });

  it("ends when the work is stopped", async () => {
    await using silent = await serve(() => undefined);
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    const check = checkUrl({ url: silent.url, status: 200, json: {} }, controller.signal);
    await expect(check).rejects.toBeInstanceOf(AbortedError);
  });

  it("refuses what is no web address, without showing it", async () => {
    const check = checkUrl({ url: "file:///etc/passwd", status: 200, json: {} }, never);
    await expect(check).rejects.toThrow(UserError);
    await expect(check).rejects.not.toThrow(/passwd/);
  });
});

describe("trying again", () => {
  it("goes on until the check passes", async () => {
    let asked = 0;
    await using server = await serve((request, response) => {
      asked += 1;
      if (asked < 3) response.writeHead(503).end();
      else ready(request, response);
    });
    const seen = await tryUntil(60, never, (left) =>
      checkUrl({ url: server.url, status: 200, json: {} }, never, left),
    );
    expect(seen.status).toBe("passed");
    expect(asked).toBe(3);
  });

  it("ends when the time is over, and says how often it was tried", async () => {
    const seen = await tryUntil(1, never, async () => ({ status: "failed", expected: "a", actual: "b" }));
    expect(seen.status).toBe("failed");
    expect(seen.actual).toMatch(/^b \(after [2-9] tries in 1 s\)$/);
  });

  it("is not done without within", async () => {
    let tries = 0;
    const seen = await tryUntil(undefined, never, async () => {
      tries += 1;
      return { status: "failed", expected: "a", actual: "b" };
    });
    expect([seen.actual, tries]).toEqual(["b", 1]);
  });

  it("ends when the work is stopped", async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    const trying = tryUntil(3600, controller.signal, async () => ({
      status: "failed",
      expected: "a",
      actual: "b",
    }));
    await expect(trying).rejects.toBeInstanceOf(AbortedError);
  });
});
