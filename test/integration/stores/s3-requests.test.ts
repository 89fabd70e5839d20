import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { connect } from "node:net";
import type { Duplex } from "node:stream";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { ToolError } from "../../../src/errors.ts";
import type { Store } from "../../../src/stores/store.ts";
import { noise, once } from "../../support/bytes.ts";
import { answerS3Error, forward, type Listening, listen } from "../../support/http.ts";
import { type S3World, startS3World } from "../../support/s3-world.ts";

let world: S3World;

beforeAll(async () => {
  world = await startS3World();
});
afterAll(() => world.close());
afterEach(() => world.reset());

async function keysOf(store: Store, prefix = ""): Promise<string[]> {
  const keys: string[] = [];
  for await (const info of store.list(prefix)) keys.push(info.key);
  return keys;
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function answerXml(body: string): Parameters<typeof listen>[0] {
  return createServer((_request, response) => {
    response.writeHead(200, { "content-type": "application/xml" }).end(body);
  });
}

describe("a listing", () => {
  const page = (keys: string[], more: string): string =>
    `<ListBucketResult>${keys
      .map(
        (key) =>
          `<Contents><Key>shop/${key}</Key><Size>1</Size><LastModified>2026-01-25T00:00:00.000Z</LastModified></Contents>`,
      )
      .join("")}${more}</ListBucketResult>`;

  async function listingOf(xml: string): Promise<Store> {
    const server = await listen(answerXml(xml));
    cleanUp.push(() => server.close());
    return (await world.open({ config: { endpoint: server.url } })).store;
  }

  const cleanUp: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const step of cleanUp.splice(0)) await step();
  });

  test("goes through all pages, in order", async () => {
    const { store } = await world.open({ config: { prefix: "pages" } });
    const keys = Array.from({ length: 11 }, (_, index) => `wal/${String(index).padStart(4, "0")}`);
    for (const key of keys) await store.put(key, once(key));
    world.proxy.trouble = (request) => {
      request.url = `${request.url}&max-keys=3`;
      return false;
    };
    const before = world.proxy.requests.length;
    expect(await keysOf(store)).toEqual(keys);
    expect(world.proxy.requests.length - before).toBe(4);
    expect(await keysOf(store, "wal/000")).toEqual(keys.slice(0, 10));
  });

  test("leaves out the empty objects that consoles make for folders", async () => {
    expect(await keysOf(await listingOf(page(["db/", "db/a"], "<IsTruncated>false</IsTruncated>")))).toEqual([
      "db/a",
    ]);
  });

  test("that says there is more but not where is an error, not the end", async () => {
    const store = await listingOf(page(["a"], "<IsTruncated>true</IsTruncated>"));
    await expect(keysOf(store)).rejects.toThrow(/listing breaks off/);
  });

  test("that gives the same page for ever is an error", async () => {
    const more = "<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>";
    const store = await listingOf(page(["a"], more));
    await expect(keysOf(store)).rejects.toThrow(/does not list keys in order/);
  });

  test("that lacks a size is an error", async () => {
    const store = await listingOf(
      "<ListBucketResult><Contents><Key>shop/a</Key></Contents></ListBucketResult>",
    );
    await expect(keysOf(store)).rejects.toThrow(/listing is not complete/);
  });
});

describe("a deletion", () => {
  test("goes in batches of a thousand, each with its Content-MD5", async () => {
    const { store } = await world.open();
    await store.put("k-0", once("x"));
    await store.put("k-1000", once("x"));
    await store.put("kept", once("x"));
    const checked: boolean[] = [];
    world.proxy.trouble = async (request, response) => {
      if (request.method !== "POST") return false;
      const body = await bodyOf(request);
      checked.push(request.headers["content-md5"] === createHash("md5").update(body).digest("base64"));
      const onward = await fetch(new URL(request.url ?? "/", world.s3.endpoint), { method: "POST", body });
      response.writeHead(onward.status, { "content-type": "application/xml" }).end(await onward.text());
      return true;
    };
    await store.delete(Array.from({ length: 1_001 }, (_, index) => `k-${index}`));
    expect(checked).toEqual([true, true]);
    expect(await keysOf(store, "k")).toEqual(["kept"]);
  });

  test.each([
    [501, "NotImplemented"],
    [405, "MethodNotAllowed"],
    [400, "MalformedXML"],
  ])("goes one by one on a store that answers %i %s to a batch", async (status, code) => {
    const { store } = await world.open();
    for (const key of ["a", "b", "c"]) await store.put(key, once(key));
    world.proxy.trouble = (request, response) => {
      if (request.method !== "POST") return false;
      request.resume();
      return answerS3Error(response, status, code);
    };
    await store.delete(["a", "b", "absent"]);
    expect(await keysOf(store, "a")).toEqual([]);
    expect(await keysOf(store, "b")).toEqual([]);
    expect(await keysOf(store, "c")).toEqual(["c"]);
  });

  test("that is denied one by one is an error", async () => {
    const { store } = await world.open();
    world.proxy.trouble = (request, response) => {
      if (request.method === "POST") return answerS3Error(response, 501, "NotImplemented");
      return answerS3Error(response, 403, "AccessDenied");
    };
    await expect(store.delete(["a"])).rejects.toThrow(ToolError);
  });
});

describe("a proxy of the environment", () => {
  test("gets every request to an http endpoint, unless NO_PROXY names the host", async () => {
    const seen: string[] = [];
    const server = createServer((request, response) => {
      seen.push(request.url ?? "");
      const { pathname, search } = new URL(request.url ?? "");
      request.url = pathname + search;
      forward(world.s3.endpoint, request, response);
    });
    const hop = await listen(server);
    try {
      const endpoint = "http://s3.example";
      const { store } = await world.open({ config: { endpoint }, env: { HTTP_PROXY: hop.url } });
      for (const key of ["a", "b", "c", "d"]) await store.put(key, once(key));
      expect(seen).toHaveLength(4);
      for (const url of seen) expect(url).toMatch(/^http:\/\/s3\.example\/backups\/shop\/[a-d]\?/);

      const env = { HTTP_PROXY: hop.url, NO_PROXY: "127.0.0.1" };
      const { store: direct } = await world.open({ env });
      await direct.put("e", once("e"));
      expect(seen).toHaveLength(4);
    } finally {
      await hop.close();
    }
  });

  test("is asked for one tunnel to an https endpoint, which all requests use", async () => {
    const tls = new URL("../../support/tls/", import.meta.url);
    const cert = await readFile(new URL("localhost.crt", tls), "utf8");
    const key = await readFile(new URL("localhost.key", tls), "utf8");
    const secure = createSecureServer({ cert, key }, (request, response) => {
      forward(world.s3.endpoint, request, response);
    });
    const s3 = await listen(secure);
    const { hop, tunnels } = await tunnel(s3.port);
    const trusted = getCACertificates("default");
    try {
      setDefaultCACertificates([...trusted, cert]);
      const config = { endpoint: "https://localhost:7443" };
      const { store } = await world.open({ config, env: { https_proxy: hop.url } });
      for (const name of ["a", "b", "c"]) await store.put(name, once(name));
      expect(await keysOf(store, "c")).toEqual(["c"]);
      expect(tunnels).toEqual(["localhost:7443"]);
    } finally {
      setDefaultCACertificates(trusted);
      await hop.close();
      await s3.close();
    }
  });

  test("is named when what it leads to does not answer as it should", async () => {
    const { hop } = await tunnel(world.proxy.port);
    try {
      const config = { endpoint: "https://s3.example" };
      const { store } = await world.open({ config, env: { https_proxy: hop.url } });
      await expect(store.put("a", once("x"))).rejects.toThrow(
        /s3\.example \(through the proxy 127\.0\.0\.1:\d+\)/,
      );
    } finally {
      await hop.close();
    }
  });
});

describe("the host of a request", () => {
  test.each([
    [{}, "backups.s3.eu-central-1.amazonaws.com:443"],
    [{ "path-style": true }, "s3.eu-central-1.amazonaws.com:443"],
    [{ endpoint: "https://r2.example" }, "r2.example:443"],
    [{ endpoint: "https://oss.example", "path-style": false }, "backups.oss.example:443"],
  ])("with %j is %s", async (over, host) => {
    const { hop, tunnels } = await tunnel(world.proxy.port);
    try {
      const config = { endpoint: undefined, region: "eu-central-1", ...over };
      const { store } = await world.open({ config, env: { https_proxy: hop.url } });
      await expect(store.put("a", once("x"))).rejects.toThrow(ToolError);
      expect(tunnels[0]).toBe(host);
    } finally {
      await hop.close();
    }
  });
});

test("a store other than Amazon S3 is sent no checksum headers that it may refuse", async () => {
  const headers: string[] = [];
  world.proxy.trouble = (request) => {
    headers.push(...Object.keys(request.headers));
    return false;
  };
  const { store } = await world.open();
  await store.put("small", once("x"));
  await store.put("big", noise(9 * 2 ** 20));
  await store.delete(["small", "big"]);
  expect(headers).toContain("authorization");
  expect(headers.filter((name) => /checksum|trailer|expect/.test(name))).toEqual([]);
});

/** A proxy whose tunnels all lead to one port. */
async function tunnel(port: number): Promise<{ readonly hop: Listening; readonly tunnels: string[] }> {
  const tunnels: string[] = [];
  const server = createServer();
  const open = new Set<Duplex>();
  server.on("connect", (request, socket) => {
    tunnels.push(request.url ?? "");
    open.add(socket);
    const onward = connect(port, "127.0.0.1");
    socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
    socket.pipe(onward).pipe(socket);
    socket.on("error", () => onward.destroy());
    onward.on("error", () => socket.destroy());
  });
  const hop = await listen(server);
  return {
    tunnels,
    hop: {
      ...hop,
      close() {
        for (const socket of open) socket.destroy();
        return hop.close();
      },
    },
  };
}

test("closing the store closes its connections", async () => {
  const { store } = await world.open();
  await store.put("a", once("x"));
  const reading = await store.get("a");
  expect(reading).toBeDefined();
  store.close();
  await world.proxy.idle();
});
