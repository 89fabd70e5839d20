import { z } from "zod";
import { UserError } from "../errors.ts";
import { CANNOT_FAIL, cannotFail, type Expectation, parseExpectation } from "../expect.ts";
import { quote } from "../quote.ts";
import { duration, oneOf, plainText, templateText } from "../schema-parts.ts";
import { readsData } from "../sql.ts";
import { isDecidedByRecovery } from "./decided-settings.ts";

/** By how much a row count may differ: a number of rows, or per cent of the captured count. */
export interface Tolerance {
  readonly unit: "rows" | "percent";
  readonly value: number;
}

const TOLERANCE = 'must be a number of rows or a percentage below 100, such as 5 or "1%"';
const NO_TOLERANCE = (issue: { input?: unknown }) => `${TOLERANCE}, not ${quote(issue.input)}`;

const tolerance = z
  .union(
    [
      z.int({ error: NO_TOLERANCE }).min(0, { error: NO_TOLERANCE }),
      z.string().regex(/^\d+(?:\.\d+)?%?$/, { error: NO_TOLERANCE }),
    ],
    {
      error: NO_TOLERANCE,
    },
  )
  .transform((written, context): Tolerance => {
    const unit = String(written).endsWith("%") ? "percent" : "rows";
    const value = Number(String(written).replace("%", ""));
    if (unit === "percent" ? value < 100 : Number.isSafeInteger(value)) return { unit, value };
    context.addIssue({ code: "custom", message: NO_TOLERANCE({ input: written }) });
    return z.NEVER;
  })
  .prefault(0)
  .meta({
    description: "By how much the count may differ: rows, or per cent of the captured count.",
    examples: ["1%", 5],
  });

const expectation = z
  .string({ error: 'must be text such as ">= 1", in quotes' })
  .transform((text, context): Expectation => {
    if (text.trim() === "") {
      const message = 'is empty: write it in quotes, such as ">= 1", because > alone starts a block of text';
      context.addIssue({ code: "custom", message });
      return z.NEVER;
    }
    try {
      return parseExpectation(text);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      context.addIssue({ code: "custom", message: error.message });
      return z.NEVER;
    }
  })
  .meta({
    description:
      "What the first column of the first row must be: = != < <= > >= with a number or text, or ~ with a pattern. No row at all is a failed check.",
    examples: [">= 1", "= paid", "~ ^v[0-9]+$"],
  });

const queryCheck = z
  .strictObject({
    query: plainText(
      "SQL that answers one value, run read-only on what was recovered.",
      "SELECT count(*) FROM orders",
    ),
    expect: expectation.optional(),
    "max-age": duration(
      "The answer is a time that is not older than this before the recovery target.",
      "1h",
    ).optional(),
  })
  .superRefine((check, context) => {
    const complain = (path: string[], message: string) => context.addIssue({ code: "custom", path, message });
    if (!readsData(check.query)) {
      complain(["query"], "reads no table, so the check can't fail: query something that the backup holds");
      return;
    }
    if (check.expect === undefined && check["max-age"] === undefined) {
      complain(
        [],
        'has no expectation, so it can\'t fail: add expect, such as ">= 1", or max-age, such as 1h',
      );
    }
    if (check.expect !== undefined && check["max-age"] !== undefined) {
      complain([], "has both expect and max-age: make it two checks");
    }
    if (check.expect !== undefined && cannotFail(check.expect, check.query)) {
      complain(["expect"], CANNOT_FAIL);
    }
  });

const TABLE =
  /^(?:[\p{L}_][\p{L}\p{N}_$]*|"(?:[^"]|"")+")(?:\.(?:[\p{L}_][\p{L}\p{N}_$]*|"(?:[^"]|"")+"))?$/u;

const rowsCheck = z.strictObject({
  rows: z
    .string()
    .regex(TABLE, {
      error: (issue) => `must be a table such as orders or public.orders, not ${quote(issue.input)}`,
    })
    .meta({
      description: "A table whose row count must equal the one that was captured with the backup.",
      examples: ["orders", "public.orders"],
    }),
  tolerance,
});

const slot = z
  .string()
  .regex(/^[a-z0-9_]{1,63}$/, {
    error: (issue) => `must be 1 to 63 lower-case letters, digits and underscores, not ${quote(issue.input)}`,
  })
  .meta({ description: "The physical replication slot; it is created when absent.", default: "drillbook" });

/** How WAL gets into the store. */
type WalSource = { readonly slot: string } | { readonly archive: string };

const wal = z
  .strictObject({
    slot: slot.optional(),
    archive: templateText(
      "Folder on this machine that the server's archive_command fills, instead of a slot.",
      "/var/lib/pgarchive",
    ).optional(),
  })
  .prefault({})
  .transform(({ slot: name, archive }, context): WalSource => {
    if (archive === undefined) return { slot: name ?? "drillbook" };
    if (name === undefined) return { archive };
    context.addIssue({ code: "custom", message: "has both slot and archive: remove one of them" });
    return z.NEVER;
  })
  .meta({
    description:
      "How WAL gets into the store: pulled through a replication slot, or from a folder that archive_command fills.",
  });

const settings = z
  .record(
    z
      .string()
      .regex(/^[A-Za-z_][\w.]*$/, { error: "must be the name of a PostgreSQL setting" })
      .refine((name) => !isDecidedByRecovery(name), {
        error: "is decided by the recovery itself: remove it",
      }),
    z.union([z.string(), z.number(), z.boolean()], {
      error: (issue) => `must be text, a number or a boolean, not ${quote(issue.input)}`,
    }),
  )
  .default({})
  .meta({
    description: "Settings of the scratch server, such as shared_preload_libraries of an extension.",
    examples: [{ shared_buffers: "1GB" }],
  });

const server = z
  .strictObject({
    runtime: oneOf(
      ["auto", "local", "docker"],
      "Where the scratch server's programs come from: those of this machine (local), an image that docker or podman runs (docker), or the first of the two that is there (auto).",
    ).default("auto"),
    "bin-dir": templateText(
      "Folder of the postgres program to use.",
      "/usr/lib/postgresql/17/bin",
    ).optional(),
    image: templateText(
      "Image of the backup's major version, for docker or podman. Without it postgres:<major>.",
      "postgres:17",
    ).optional(),
    settings,
  })
  .superRefine((written, context) => {
    const complain = (key: string, message: string) =>
      context.addIssue({ code: "custom", path: [key], message });
    if (written.runtime === "docker" && written["bin-dir"] !== undefined) {
      complain("bin-dir", "is of this machine, but runtime: docker uses an image: remove one of them");
    }
    if (written.runtime === "local" && written.image !== undefined) {
      complain(
        "image",
        "is for docker, but runtime: local uses programs of this machine: remove one of them",
      );
    }
  })
  .prefault({})
  .meta({ description: "The scratch server that a recovery starts." });

const objectives = z
  .strictObject({
    rto: duration("Recovery time objective: how long a recovery may take.", "2h").optional(),
    rpo: duration("Recovery point objective: how much of the newest data may be lost.", "5m").optional(),
  })
  .prefault({})
  .meta({ description: "Tightens the objectives of the environment for this component." });

const CONNECTION = /^(?:postgres(?:ql)?:\/\/\S+|\$\{[\s\S]*)$/;

function uriError(variable: string): string {
  return `must be a URI such as postgresql://user@host:5432/database, or \${${variable}}`;
}

const census = z
  .union([z.enum(["full", "schema"]), z.literal(false)], {
    error: (issue) => `must be full, schema or false, not ${quote(issue.input)}`,
  })
  .default("full")
  .meta({
    description:
      "What is noted of the source with each backup, to compare a recovery with: the schema and the number of rows of every table, the schema alone, or nothing.",
  });

const integrity = z
  .boolean({ error: (issue) => `must be true or false, not ${quote(issue.input)}` })
  .default(true)
  .meta({
    description:
      "Whether a recovery is looked through: amcheck over all tables and indexes, every page, sequences, extensions, and the schema against the census.",
  });

const marker = z
  .boolean({ error: (issue) => `must be true or false, not ${quote(issue.input)}` })
  .default(false)
  .meta({
    description:
      "Whether each run writes a row into drillbook.marker before and after its restore point, so that a recovery shows in the data itself that nothing is lost before the point and nothing after it is there.",
  });

const NEEDS_CENSUS = "compares with the census, which census: false switches off: use census: schema";

/** `type: postgres` of the runbook. Durations are seconds once parsed; `${NAME}` is not filled yet. */
export const postgresConfig = z
  .strictObject({
    type: z.literal("postgres").meta({ description: "A PostgreSQL cluster, 14 or later." }),
    store: plainText("The store, by its name under `stores`, that takes the backups.", "offsite"),
    connection: templateText(
      "URI of the source server, for a role that may replicate.",
      `\${DATABASE_URL}`,
    ).regex(CONNECTION, { error: uriError("DATABASE_URL") }),
    primary: templateText(
      "URI of the primary, when the source is a standby: there each run ends in a named point.",
      `\${PRIMARY_URL}`,
    )
      .regex(CONNECTION, { error: uriError("PRIMARY_URL") })
      .optional(),
    method: oneOf(["physical"], "How to back up: the whole cluster, byte by byte.").default("physical"),
    wal,
    retention: z
      .strictObject({
        keep: duration("Backups older than this are removed.", "30d"),
        minimum: z
          .int()
          .min(1)
          .default(2)
          .meta({ description: "So many backups stay, however old they are." }),
      })
      .optional()
      .meta({ description: "Which backups may be removed. Without it none is." }),
    freshness: z
      .strictObject({
        backup: duration("The newest backup is not older than this.", "26h").optional(),
        wal: duration("The newest archived WAL is not older than this.", "10m").optional(),
      })
      .prefault({})
      .meta({ description: "How old the newest backup and WAL may be." }),
    objectives,
    server,
    restore: z
      .strictObject({
        "data-directory": templateText("The data folder to replace.", "/var/lib/postgresql/17/main"),
        stop: plainText("Shell command that stops the server.", "systemctl stop postgresql").optional(),
        start: plainText("Shell command that starts the server.", "systemctl start postgresql").optional(),
      })
      .optional()
      .meta({ description: "Only for recoveries in place." }),
    checks: z
      .array(z.union([queryCheck, rowsCheck]))
      .default([])
      .meta({ description: "What proves that the recovered data is sound." }),
    census,
    integrity,
    marker,
  })
  .superRefine((config, context) => {
    if (config.census !== false) return;
    for (const [index, check] of config.checks.entries()) {
      if (!("rows" in check)) continue;
      context.addIssue({ code: "custom", path: ["checks", index, "rows"], message: NEEDS_CENSUS });
    }
  })
  .meta({ description: "A PostgreSQL cluster: base backups and WAL, recovered to any moment." });

export type PostgresConfig = z.infer<typeof postgresConfig>;
export type PostgresCheck = PostgresConfig["checks"][number];
