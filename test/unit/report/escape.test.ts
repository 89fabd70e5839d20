import { describe, expect, it } from "vitest";
import { chartLabel, code, link, markdown, oneLine } from "../../../src/report/escape.ts";
import { HOSTILE } from "./sample.ts";

describe("oneLine", () => {
  it("makes one line of many, without control characters", () => {
    expect(oneLine("a\r\nb\tc\u2028d\u0000e\u001b[31m")).toBe("a b c d e [31m");
  });

  it("takes out what turns the reading direction or cannot be seen", () => {
    expect(oneLine("\u202Eevil\u202C \u200Bz\u2066x\uFEFF")).toBe("evil zx");
  });

  it("cuts what is too long by characters, never inside of one", () => {
    expect(oneLine("😀".repeat(50), 10)).toBe(`${"😀".repeat(9)}…`);
    expect(oneLine("x".repeat(10), 10)).toBe("x".repeat(10));
    expect(oneLine("x".repeat(5_000_000), 10)).toBe(`${"x".repeat(9)}…`);
  });
});

describe("markdown", () => {
  it("leaves plain words, paths and versions readable", () => {
    for (const plain of [
      "17.5",
      "Recover db",
      "s3://bucket/db/backups/x/backup_manifest",
      "2026-01-25T14:30:00Z",
      "a (b)",
    ]) {
      expect(markdown(plain)).toBe(plain);
    }
  });

  it.each([
    ["a table's bar", "a|b", "a&#124;b"],
    ["a tag", "<img onerror=x>", "&lt;img onerror=x&gt;"],
    ["an entity", "&lt;", "&amp;lt;"],
    ["a backslash before a bar", "\\|", "&#92;&#124;"],
    ["a code span", "`x`", "\\`x\\`"],
    ["emphasis", "**b** _i_ ~~s~~", "\\*\\*b\\*\\* \\_i\\_ \\~\\~s\\~\\~"],
    ["a link and an image", "![x](y)", "!\\[x\\](y)"],
    ["a mention", "@octocat", "@&#8203;octocat"],
    ["references", "#12 GH-12", "\\#&#8203;12 GH-&#8203;12"],
    ["a bare address", "see https://evil.example", "see https:&#8203;//evil.example"],
    ["a bare host", "www.evil.example", "www&#8203;.evil.example"],
    ["a workflow command", "::error::x", "\\:&#8203;:&#8203;error:&#8203;:x"],
    ["an emoji", "a :tada: b", "a :&#8203;tada: b"],
    ["a formula", "$x$", "\\$x\\$"],
    ["a list", "- x", "\\- x"],
    ["a numbered list", "1. x", "1&#8203;. x"],
    ["a heading", "# x", "\\# x"],
  ])("takes the meaning from %s", (_, text, expected) => {
    expect(markdown(text)).toBe(expected);
  });

  it("takes the meaning from all that an enemy has", () => {
    for (const text of HOSTILE) {
      const escaped = markdown(text);
      expect(escaped).not.toMatch(/[<>\n\r|]/);
      expect(escaped).not.toMatch(/(?<!\\)[`*[\]$]/);
      expect(escaped).not.toMatch(/@\w|(?<!&)#\d|https?:\/\/|::/);
      expect([...escaped].length).toBeLessThan(2_100);
    }
  });
});

describe("code", () => {
  it("shows code as it is where nothing in it could end it", () => {
    expect(code(">= 1")).toBe("`>= 1`");
    expect(code("SELECT count(*) FROM orders")).toBe("`SELECT count(*) FROM orders`");
  });

  it("escapes what a code span cannot hold", () => {
    expect(code("a|b`c<d\\")).toBe("<code>a&#124;b\\`c&lt;d&#92;</code>");
  });

  it("shows that there is nothing", () => {
    expect(code(" \n")).toBe("*empty*");
  });
});

describe("link", () => {
  it("links to web addresses", () => {
    expect(link("run", "https://github.com/a/b/actions/runs/1")).toBe(
      "[run](https://github.com/a/b/actions/runs/1)",
    );
  });

  it("does not let an address end the link", () => {
    expect(link("run", "https://x.example/a)[b](c|d")).toBe("[run](https://x.example/a%29%5Bb%5D%28c%7Cd)");
  });

  it.each(["javascript:alert(1)", "data:text/html,x", "not an address"])(
    "shows only the label for %s",
    (url) => {
      expect(link("run", url)).toBe("run");
    },
  );
});

describe("chartLabel", () => {
  it("keeps letters of any script, digits and harmless signs", () => {
    expect(chartLabel("Recover db-1 (größe 42.5) données")).toBe("Recover db-1 (größe 42.5) données");
  });

  it("keeps nothing that a chart reads as its own", () => {
    for (const text of HOSTILE) expect(chartLabel(text)).toMatch(/^[\p{L}\p{N} ._()/…-]{1,40}$/u);
    expect(chartLabel(":;#%")).toBe("unnamed");
  });
});
