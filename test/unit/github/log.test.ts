import { expect, test, vi } from "vitest";
import { createLogger, harmless } from "../../../src/github/log.ts";
import { createSecrets, secretsIn } from "../../../src/github/secrets.ts";
import { limitSummary, SUMMARY_LIMIT_BYTES } from "../../../src/github/summary.ts";

test("text cannot become a workflow command, whatever stands before it", () => {
  const hostile = "table ok\n  ::error::forged\r::set-output name=verdict::passed\n##[error]forged";

  const lines = harmless(hostile).split("\n");

  expect(lines).toHaveLength(4);
  for (const line of lines) expect(line.trimStart()).not.toMatch(/^(::|##\[)/);
});

test("the older kind of workflow command is none, wherever it stands in a line", () => {
  expect(harmless("row 1 ##[add-mask]passed ##[stop-commands]x")).not.toContain("##[");
});

test("line separators and control characters cannot hide or forge a line", () => {
  expect(harmless("a\u0008b\u001b[2Kc\u2028::error::d\u0085e")).toBe("a b [2Kc ::error::d e");
});

test("secrets are taken out of log lines, the longest first, and URL-encoded too", () => {
  const secrets = createSecrets(false);
  secrets.add("p@ss word");
  secrets.add("postgres://app:p@ss word@db/shop");
  const written = vi.spyOn(process.stdout, "write").mockReturnValue(true);

  createLogger(secrets).info("to postgres://app:p@ss word@db/shop, with p@ss word or p%40ss%20word");
  const output = written.mock.calls.join("");
  written.mockRestore();

  expect(output.trim()).toBe("to ***, with *** or ***");
});

test("each line of a secret with several lines is a secret", () => {
  const secrets = createSecrets(false);
  secrets.add("# created\nAGE-SECRET-KEY-1ABC\n");

  expect(secrets.redact("key AGE-SECRET-KEY-1ABC!")).toBe("key ***!");
});

test("only on a runner a secret is written as a command, because only there somebody takes it out", () => {
  const written = vi.spyOn(process.stdout, "write").mockReturnValue(true);
  createSecrets(false).add("hunter2");
  const elsewhere = written.mock.calls.join("");
  createSecrets(true).add("hunter2");
  const onRunner = written.mock.calls.join("");
  written.mockRestore();

  expect(elsewhere).toBe("");
  expect(onRunner).toContain("::add-mask::hunter2");
});

test("a summary above GitHub's limit is cut at a line end and says so", () => {
  const line = `${"ä".repeat(50)}\n`;
  const cut = limitSummary(`## Verdict\n${line.repeat(20_000)}`);

  expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(SUMMARY_LIMIT_BYTES + 100);
  expect(cut.startsWith("## Verdict\n")).toBe(true);
  expect(cut).toMatch(/ä\n\n\*Cut here/);
  expect(limitSummary("short")).toBe("short");
});

test("secrets of the environment are known before anything prints them", () => {
  const env = {
    AWS_SECRET_ACCESS_KEY: "wJalrXUtnFEMI",
    AGE_IDENTITY: "AGE-SECRET-KEY-1ABC",
    GITHUB_TOKEN: "ghs_12345678",
    PGPASSWORD: "hunter2-hunter2",
    DATABASE_URL: "postgres://app:p%40ss@db/shop",
    HOME: "/home/runner",
    NOT_SET: undefined,
  };
  expect(secretsIn(env).sort()).toEqual(
    ["wJalrXUtnFEMI", "AGE-SECRET-KEY-1ABC", "ghs_12345678", "hunter2-hunter2", "p%40ss", "p@ss"].sort(),
  );
});

test("what is only named like a secret, or is none, tears no holes into the log", () => {
  expect(
    secretsIn({ REQUIRE_TOKEN: "true", PUBLIC_KEY: "ssh-ed25519 AAAA", URL: "https://example.com" }),
  ).toEqual([]);
});
