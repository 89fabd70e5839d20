import { z } from "zod";
import { durationText } from "../schema-parts.ts";

const encryption = z
  .strictObject({
    recipients: z
      .array(z.string().min(1))
      .min(1)
      .describe(
        "age recipients (`age1…`): public keys that every object is sealed for. They are enough to write.",
      ),
    identity: z
      .string()
      .min(1)
      .optional()
      .describe(
        "The age identity (`AGE-SECRET-KEY-1…`) that opens the objects; only needed to read. Taken from the environment, never written here.",
      ),
  })
  .describe("Seals every object with age before it leaves this machine.");

const prefix = z
  .string()
  .optional()
  .describe("What every key of this store starts with, without a slash at either end.");

const s3 = z
  .strictObject({
    type: z
      .literal("s3")
      .describe("A bucket of Amazon S3, Cloudflare R2, MinIO or another S3-compatible store."),
    bucket: z.string().min(1).describe("The bucket's name. It must exist."),
    prefix,
    region: z
      .string()
      .min(1)
      .optional()
      .describe(
        "The bucket's region. Without it: AWS_REGION, the AWS profile, or `us-east-1` with an endpoint.",
      ),
    endpoint: z
      .string()
      .min(1)
      .optional()
      .describe("URL of a store other than Amazon S3, such as `https://<account>.r2.cloudflarestorage.com`."),
    "path-style": z
      .boolean()
      .optional()
      .describe(
        "Puts the bucket into the path instead of the host name. Default: true with an endpoint, false without.",
      ),
    retry: z
      .strictObject({
        within: durationText(
          "A request that fails is tried again for so long, with pauses that grow up to 20 s. Default: 2m.",
          "5m",
        ),
      })
      .optional()
      .describe("How patient the store is with its network and with itself."),
    encryption: encryption.optional(),
  })
  .describe(
    "Objects in an S3 bucket. Credentials come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE …), never from the runbook.",
  );

const file = z
  .strictObject({
    type: z.literal("file").describe("A folder on a disk or a mounted share."),
    path: z.string().min(1).describe("The folder. It is created by the first backup."),
    prefix,
    encryption: encryption.optional(),
  })
  .describe("Files in a folder of this machine.");

/** A store of the runbook. Texts may still hold `${NAME}` in the file; `openStore` takes the same shape, filled. */
export const storeConfig = z.discriminatedUnion("type", [s3, file]).describe("Where backups live.");

export type StoreConfig = z.infer<typeof storeConfig>;
export type S3StoreConfig = Extract<StoreConfig, { type: "s3" }>;
export type FileStoreConfig = Extract<StoreConfig, { type: "file" }>;
