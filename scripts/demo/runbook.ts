import { join } from "node:path";
import { stringify } from "yaml";

/** The runbook of the demo's shop: what a user would commit, with this machine's paths. */
export function demoRunbook(facts: { workspace: string; recipient: string; binDir: string }): string {
  return stringify({
    version: 1,
    service: "demo-shop",
    owner: "you",
    objectives: { drill: { rto: "2m", rpo: "5s" } },
    stores: {
      local: {
        type: "file",
        path: join(facts.workspace, "store"),
        encryption: { recipients: [facts.recipient], identity: variable("AGE_IDENTITY") },
      },
    },
    components: {
      db: {
        type: "postgres",
        store: "local",
        connection: variable("DATABASE_URL"),
        method: "physical",
        wal: { slot: "drillbook" },
        server: { runtime: "local", "bin-dir": facts.binDir },
        checks: [
          { query: "SELECT count(*) FROM orders", expect: ">= 1" },
          { query: "SELECT max(created_at) FROM orders", "max-age": "10s" },
        ],
      },
    },
    scenarios: {
      "orders-deleted": {
        title: "Somebody deletes all orders, and then the server dies",
        every: "90d",
        steps: [{ recover: "db" }, { check: { run: "./prove.sh" } }],
      },
    },
  });
}

/** `${NAME}`, as a runbook writes it. */
export function variable(name: string): string {
  return `\${${name}}`;
}
