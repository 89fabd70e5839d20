import { describe } from "vitest";
import { type Case, small, testCases, withSteps } from "./cases.ts";
import { SMALL } from "./fixtures.ts";

const REFERENCES: Case[] = [
  {
    name: "a store that is not there",
    text: small((text) => text.replace("store: local", "store: §offsite")),
    says: ['components.db.store is "offsite", but there is no store of that name: choose local'],
  },
  {
    name: "a recipient that is none",
    text: small((text) =>
      text.replace("path: /backups }", "path: /backups, encryption: { recipients: [§ssh-ed25519 AAAA] } }"),
    ),
    says: ["stores.local.encryption.recipients[0] must be an age recipient", "age1", "ssh-ed25519 AAAA"],
  },
  {
    name: "a component whose name is taken in the store",
    text: small((text) => text.replace("  db:", "  §drills:")),
    says: ["components.drills has a name that Drillbook uses in the store"],
  },
  {
    name: "two components that would share a slot",
    text: `${SMALL}  copy: { type: postgres, store: local, connection: §"\${DATABASE_URL}" }\n`,
    says: ["components.copy.connection is that of db too", "wal.slot"],
  },
  {
    name: "the recovery of a component that is not there",
    text: withSteps("recover: §database"),
    says: ['scenarios.lost.steps[0].recover is "database"', "no component of that name: choose db"],
  },
  {
    name: "a component that is recovered twice",
    text: withSteps("recover: db", "recover: §db"),
    says: ['scenarios.lost.steps[1].recover recovers "db" a second time'],
  },
  {
    name: "a scenario with the name of a component that it leaves alone",
    text: `${withSteps("recover: db")}  §db: { steps: [{ run: "true" }] }\n`,
    says: ["scenarios.db has the name of a component that it doesn't recover"],
  },
  {
    name: "a step of no kind",
    text: withSteps("recover: db", "§wait: 5"),
    says: ["scenarios.lost.steps[1] must have one of run, recover or check"],
  },
  {
    name: "a step of two kinds",
    text: withSteps("§{ recover: db, run: ls }"),
    says: ["scenarios.lost.steps[0] has run and recover, but only one of them is allowed"],
  },
  {
    name: "a step with a key of another",
    text: withSteps("{ recover: db, §within: 5s }"),
    says: ["scenarios.lost.steps[0].within is no known key", "recover, when"],
  },
  {
    name: "a step for an unknown kind of run",
    text: withSteps("{ recover: db, when: §never }"),
    says: ['scenarios.lost.steps[0].when must be drill, restore or always, not "never"'],
  },
  {
    name: "a scenario without steps",
    text: `${SMALL}scenarios: { lost: { §steps: [] } }\n`,
    says: ["scenarios.lost.steps must have at least one step"],
  },
  {
    name: "a check of an address that is none",
    text: withSteps("recover: db", "check: { url: §localhost:8000 }"),
    says: ["scenarios.lost.steps[1].check.url must be a URL that starts with http:// or https://"],
  },
  {
    name: "a check of a status that does not exist",
    text: withSteps("recover: db", "check: { url: http://localhost, status: §20 }"),
    says: ["scenarios.lost.steps[1].check.status must be at least 100, not the number 20"],
  },
  {
    name: "a check of a JSON value that cannot fail",
    text: withSteps("recover: db", 'check: { url: http://localhost, json: { a.b: §"~ .*" } }'),
    says: ['scenarios.lost.steps[1].check.json["a.b"] can\'t fail'],
  },
  {
    name: "a check of nothing in the JSON",
    text: withSteps("recover: db", "check: { url: http://localhost, §json: {} }"),
    says: ["scenarios.lost.steps[1].check.json must have at least one entry"],
  },
  {
    name: "a scenario that recovers nothing in a drill",
    text: withSteps("{ recover: db, when: restore }").replace("  lost:", "  §lost:"),
    says: ["scenarios.lost recovers nothing in a drill"],
  },
  {
    name: "a scenario in which nothing proves data",
    text: `${SMALL}scenarios:\n  §lost:\n    steps:\n      - recover: db\n      - check: { url: http://localhost }\n`,
    says: ["scenarios.lost has nothing that proves the data", "checks", "json"],
  },
];

const SECRETS: Case[] = [
  {
    name: "a password in the connection",
    text: small((text) => text.replace(`\${DATABASE_URL}`, "§postgres://app:hunter2@db/shop")),
    says: ["components.db.connection holds a password in clear text", `\${NAME}`],
  },
  {
    name: "a password as a parameter of the connection",
    text: small((text) => text.replace(`\${DATABASE_URL}`, "§postgres://db/shop?password=hunter2")),
    says: ["components.db.connection holds a password in clear text"],
  },
  {
    name: "a password in the key primary",
    text: `${SMALL}    primary: §postgres://app:hunter2@db/shop\n`,
    says: ["components.db.primary holds a password in clear text"],
  },
  {
    name: "a password as the default of a variable",
    text: small((text) =>
      text.replace(`\${DATABASE_URL}`, `§\${DATABASE_URL:-postgres://app:hunter2@db/shop}`),
    ),
    says: ["components.db.connection holds a password in clear text"],
  },
  {
    name: "a password in the address of a store",
    text: small((text) =>
      text.replace("path: /backups", "path: /backups, prefix: §https://app:hunter2@s3.local"),
    ),
    says: ["stores.local.prefix holds a password in clear text"],
  },
  {
    name: "an identity",
    text: small((text) =>
      text.replace(
        "path: /backups }",
        `path: /backups, encryption: { recipients: ["\${RECIPIENT}"], identity: §AGE-SECRET-KEY-1HUNTER2HUNTER2 } }`,
      ),
    ),
    says: ["stores.local.encryption.identity holds a private key in clear text", `\${AGE_IDENTITY}`],
  },
  {
    name: "an identity in a comment",
    text: `${SMALL}# our key: §AGE-SECRET-KEY-1HUNTER2HUNTER2\n`,
    says: ["the runbook holds a private key in clear text"],
  },
  {
    name: "a webhook of Slack",
    text: `${SMALL}notify: { slack: §https://hooks.slack.com/services/T0/B0/hunter2 }\n`,
    says: ["notify.slack holds a secret in clear text", `\${SLACK_WEBHOOK_URL}`],
  },
  {
    name: "a routing key as a default",
    text: `${SMALL}notify: { pagerduty: §"\${PAGERDUTY_ROUTING_KEY:-hunter2}" }\n`,
    says: ["notify.pagerduty holds a secret in clear text"],
  },
  {
    name: "a webhook",
    text: `${SMALL}notify: { webhook: §https://example.com/hunter2 }\n`,
    says: ["notify.webhook holds a secret in clear text"],
  },
];

const TEMPLATES: Case[] = [
  {
    name: "a variable that is never closed",
    text: small((text) => text.replace(`\${DATABASE_URL}`, `§\${DATABASE_URL`)),
    says: [`components.db.connection has a \${ that is never closed`, `\${NAME:-default}`],
  },
  {
    name: "a variable without a name",
    text: small((text) => text.replace("path: /backups", `path: §"/backups/\${}"`)),
    says: [`stores.local.path has a \${ that names no variable`],
  },
  {
    name: "an expression of GitHub",
    text: small((text) => text.replace(`\${DATABASE_URL}`, `§\${{ secrets.DATABASE_URL }}`)),
    says: ["components.db.connection has a GitHub expression", "env of the workflow's step"],
  },
  {
    name: "a connection in the keyword form",
    text: small((text) => text.replace(`\${DATABASE_URL}`, "§host=db user=app")),
    says: ["components.db.connection must be a URI such as postgresql://"],
  },
];

describe("names and scenarios", () => testCases(REFERENCES));
describe("secrets", () => testCases(SECRETS));
describe("variables", () => testCases(TEMPLATES));
