import { describe, expect, test } from "vitest";
import { proxyFor, proxyPasswords } from "../../../src/stores/proxy.ts";

describe("the proxy of a URL", () => {
  test.each([
    [{}, "https://s3.example", ""],
    [{ HTTPS_PROXY: "http://p:1" }, "https://s3.example", "http://p:1"],
    [{ HTTPS_PROXY: "http://p:1" }, "http://s3.example", ""],
    [{ HTTP_PROXY: "http://p:1" }, "http://s3.example", "http://p:1"],
    [
      { https_proxy: "http://lower:1", HTTPS_PROXY: "http://upper:1" },
      "https://s3.example",
      "http://lower:1",
    ],
    [{ ALL_PROXY: "socks5://p:1" }, "https://s3.example", "socks5://p:1"],
    [{ HTTPS_PROXY: "p:3128" }, "https://s3.example", "http://p:3128"],
    [{ HTTPS_PROXY: " " }, "https://s3.example", ""],
  ])("with %j for %s is %j", (env, url, proxy) => {
    expect(proxyFor(url, env)).toBe(proxy);
  });

  test.each([
    ["*", true],
    ["example", true],
    [".example", true],
    ["*.example", true],
    ["s3.example", true],
    ["other, s3.example", true],
    ["other s3.example", true],
    ["S3.EXAMPLE", true],
    ["s3.example:443", true],
    ["s3.example:80", false],
    ["3.example", false],
    ["xample", false],
    ["other", false],
    ["", false],
  ])("is bypassed by NO_PROXY=%s: %s", (noProxy, bypassed) => {
    const env = { HTTPS_PROXY: "http://p:1", NO_PROXY: noProxy };
    expect(proxyFor("https://s3.example", env)).toBe(bypassed ? "" : "http://p:1");
  });

  test("keeps its password to be masked", () => {
    expect(proxyPasswords({ HTTPS_PROXY: "http://me:secret@p:1", http_proxy: "you:hidden@p" })).toEqual([
      "secret",
      "hidden",
    ]);
    expect(proxyPasswords({ HTTPS_PROXY: "http://p:3128/x@y" })).toEqual([]);
  });
});
