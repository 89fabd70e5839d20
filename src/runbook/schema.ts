import { z } from "zod";
import { componentConfig } from "../components.ts";
import { UserError } from "../errors.ts";
import { CANNOT_FAIL, cannotFail, parseExpectation } from "../expect.ts";
import { quote } from "../quote.ts";
import { duration, nameKey, oneOf, plainText, secretText, templateText } from "../schema-parts.ts";
import { storeConfig } from "../stores/config.ts";

/*
 * The runbook's shape. Durations are seconds once parsed; `${NAME}` stays as it is written until it is used. An error
 * is the end of a sentence that starts with the key (see `schema-parts.ts`).
 */

const when = oneOf(["drill", "restore", "always"], "In which kind of run the step is taken.").default(
  "always",
);

const within = duration(
  "Tried again until it passes, for so long. Without it: tried once.",
  "60s",
).optional();

const DAY = "must be a day such as 2026-09-01";

const day = z
  .string({ error: (issue) => `${DAY}, not ${quote(issue.input)}` })
  .refine((text) => /^\d{4}-\d\d-\d\d$/.test(text) && isDay(text), {
    error: (issue) => `${DAY}, not ${quote(issue.input)}`,
  });

function isDay(text: string): boolean {
  const date = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(text);
}

const runStep = z
  .strictObject({
    run: plainText(
      "A shell command. It gets DRILLBOOK_<COMPONENT>_URL, _HOST and _PORT of what was recovered; the shell fills its own variables.",
      "docker compose up -d --wait api",
    ),
    when,
  })
  .meta({ description: "Runs a command." });

const recoverStep = z
  .strictObject({
    recover: plainText("The component to recover, by its name under `components`.", "db"),
    when,
  })
  .meta({ description: "Recovers a component and runs its checks." });

const json = z
  .record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()]))
  .superRefine((wanted, context) => {
    if (Object.keys(wanted).length === 0) {
      context.addIssue({ code: "custom", message: "must have at least one entry" });
    }
    for (const [path, value] of Object.entries(wanted)) {
      const message = typeof value === "string" ? expectationProblem(value) : undefined;
      if (message !== undefined) context.addIssue({ code: "custom", path: [path], message });
    }
  })
  .meta({
    description:
      "Values in the JSON answer, by dotted path; a text that starts with an operator is an expectation.",
    examples: [{ "database.migrations_current": true }],
  });

/** A text that starts with no operator stands for itself. */
function expectationProblem(text: string): string | undefined {
  if (!/^[=!<>~]/.test(text)) return undefined;
  try {
    return cannotFail(parseExpectation(text)) ? CANNOT_FAIL : undefined;
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
}

const urlCheck = z
  .strictObject({
    url: templateText("What to GET.", "http://localhost:8000/readyz").regex(
      /^(?:https?:\/\/\S+|\$\{[\s\S]*)$/,
      {
        error: "must be a URL that starts with http:// or https://",
      },
    ),
    status: z.int().min(100).max(599).default(200).meta({ description: "The HTTP status it must answer." }),
    json: json.optional(),
    within,
  })
  .meta({ description: "Asks a URL." });

const runCheck = z
  .strictObject({
    run: plainText("A shell command that exits with 0 when all is well.", "./scripts/smoke.sh"),
    within,
  })
  .meta({ description: "Runs a command that proves something." });

const checkStep = z
  .strictObject({
    check: z
      .union([urlCheck, runCheck])
      .meta({ description: "A URL to ask, or a command to run. When it fails, the drill has failed." }),
    when,
  })
  .meta({ description: "Checks the service that runs on what was recovered." });

const scenario = z
  .strictObject({
    title: plainText("What happened, in a few words.", "The database is gone").optional(),
    every: duration("How often the scenario must be drilled.", "90d").optional(),
    steps: z
      .array(z.union([runStep, recoverStep, checkStep]))
      .min(1, { error: "must have at least one step" })
      .meta({ description: "What to do, in order." }),
  })
  .meta({ description: "Something that goes wrong, and the steps out of it." });

const environment = z.strictObject({
  rto: duration("Recovery time objective: how long a recovery may take.", "4h").optional(),
  rpo: duration("Recovery point objective: how much of the newest data may be lost.", "1h").optional(),
  protected: z.boolean().default(false).meta({ description: "A drill never touches this environment." }),
});

const contact = z.strictObject({
  role: plainText("Who they are.", "On-call engineer"),
  contact: plainText("How to reach them.", "pagerduty"),
  "escalate-after": duration("Ask the next one after so long without an answer.", "15m").optional(),
});

const notify = z
  .strictObject({
    slack: secretText("Incoming webhook of Slack.", `\${SLACK_WEBHOOK_URL}`).optional(),
    pagerduty: secretText("Routing key of a PagerDuty integration.", `\${PAGERDUTY_ROUTING_KEY}`).optional(),
    webhook: secretText("URL that gets a POST with JSON.", `\${DR_WEBHOOK_URL}`).optional(),
    issue: z
      .boolean()
      .default(false)
      .meta({ description: "Open or refresh a GitHub issue when a drill or a verification is not passed." }),
  })
  .prefault({})
  .meta({ description: "Who hears of it." });

export const runbookConfig = z
  .strictObject({
    version: z.literal(1).meta({ description: "Version of this format." }),
    service: nameKey("shop").meta({ description: "The service's name.", examples: ["shop"] }),
    owner: plainText("The team that answers for it.", "platform-team").optional(),
    review: z
      .strictObject({
        every: duration("How often people read this runbook through.", "90d"),
        last: day.optional().meta({ description: "When they last did.", examples: ["2026-09-01"] }),
      })
      .optional()
      .meta({ description: "Keeps the runbook itself from going stale." }),
    objectives: z
      .record(nameKey("production"), environment)
      .default({})
      .meta({ description: "Recovery objectives by environment; a component can tighten them." }),
    stores: z.record(nameKey("offsite"), storeConfig).meta({ description: "Where backups live, by name." }),
    components: z
      .record(nameKey("db"), componentConfig)
      .refine((components) => Object.keys(components).length > 0, {
        error: "must have at least one component",
      })
      .meta({ description: "What is backed up and recovered, by name." }),
    scenarios: z.record(nameKey("database-lost"), scenario).default({}).meta({
      description:
        "What is drilled, by name. A component that has none is drilled under its own name: recover it, run its checks.",
    }),
    contacts: z.array(contact).default([]).meta({ description: "Who to call, in order." }),
    documents: z
      .array(plainText("Path of a Markdown file.", "docs/disaster-recovery.md"))
      .default([])
      .meta({ description: "Markdown runbooks that are kept true." }),
    notify,
  })
  .meta({ title: "Drillbook runbook", description: "How a service is backed up, drilled and recovered." });

/** A runbook as it was read: defaults are in, durations are seconds, variables are not filled. */
export type RunbookConfig = z.infer<typeof runbookConfig>;
export type Scenario = RunbookConfig["scenarios"][string];
export type ScenarioStep = Scenario["steps"][number];
/** A `check` step's check: of a URL or by a command. */
export type ServiceCheck = Extract<ScenarioStep, { check: unknown }>["check"];
