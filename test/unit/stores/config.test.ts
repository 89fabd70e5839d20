import { describe, expect, test } from "vitest";
import { z } from "zod";
import { storeConfig } from "../../../src/stores/config.ts";

describe("the config of a store", () => {
  test.each([
    { type: "file", path: "/var/backups" },
    { type: "file", path: "/x", prefix: "shop", encryption: { recipients: ["age1x"] } },
    { type: "s3", bucket: "b" },
    {
      type: "s3",
      bucket: "b",
      prefix: "shop",
      region: "eu-central-1",
      endpoint: "$" + "{S3_ENDPOINT}",
      "path-style": true,
      retry: { within: "5m" },
      encryption: { recipients: ["age1x"], identity: "$" + "{AGE_IDENTITY}" },
    },
  ])("accepts %j", (config) => {
    expect(storeConfig.parse(config)).toEqual(config);
  });

  test.each([
    { type: "ftp", path: "/x" },
    { path: "/x" },
    { type: "file" },
    { type: "file", path: "" },
    { type: "file", path: "/x", bucket: "b" },
    { type: "s3", path: "/x" },
    { type: "s3", bucket: "b", "access-key": "k" },
    { type: "s3", bucket: "b", "path-style": "yes" },
    { type: "s3", bucket: "b", retry: { within: "0s" } },
    { type: "s3", bucket: "b", retry: { within: "5 minutes" } },
    { type: "s3", bucket: "b", retry: {} },
    { type: "file", path: "/x", retry: { within: "5m" } },
    { type: "s3", bucket: "b", encryption: {} },
    { type: "s3", bucket: "b", encryption: { recipients: [] } },
    { type: "s3", bucket: "b", encryption: { recipients: ["age1x"], password: "p" } },
  ])("refuses %j", (config) => {
    expect(storeConfig.safeParse(config).success).toBe(false);
  });

  test("describes every key in its JSON Schema", () => {
    const undescribed: string[] = [];
    function visit(node: unknown, path: string): void {
      if (typeof node !== "object" || node === null) return;
      if ("properties" in node && typeof node.properties === "object" && node.properties !== null) {
        for (const [key, value] of Object.entries(node.properties)) {
          if (key !== "type" && typeof value?.description !== "string") undescribed.push(`${path}.${key}`);
        }
      }
      for (const [key, value] of Object.entries(node)) visit(value, `${path}.${key}`);
    }
    visit(z.toJSONSchema(storeConfig), "store");
    expect(undescribed).toEqual([]);
  });
});
