import { describe } from "vitest";
import { type Case, small, testCases, withCheck } from "./cases.ts";
import { SMALL } from "./fixtures.ts";

const SHAPE: Case[] = [
  {
    name: "an unknown key gets the nearest known one and the list",
    text: `${SMALL}§objectivs: {}\n`,
    says: ["objectivs", "did you mean objectives?", "Allowed here: version, service, owner"],
  },
  {
    name: "an unknown key with an underscore is understood",
    text: withCheck("{ query: SELECT max(t) FROM orders, expect: = 1, §max_age: 1h }"),
    says: ["components.db.checks[0].max_age", "did you mean max-age?", "query, expect, max-age"],
  },
  {
    name: "an unknown key far from any other gets the list alone",
    text: `${SMALL}    §zebra: 1\n`,
    says: ["components.db.zebra is no known key; allowed here: type, store, connection"],
  },
  {
    name: "a missing key stands at its parent",
    text: small((text) => text.replace("  db:", "  §db:").replace(/ {4}connection.*\n/, "")),
    says: ["components.db.connection is missing", `such as \${DATABASE_URL}`],
  },
  {
    name: "a missing key at the top stands at the first key",
    text: `# comment\n\n§${SMALL.replace("service: shop\n", "")}`,
    says: ["service is missing", "such as shop"],
  },
  {
    name: "an empty value",
    text: small((text) => text.replace("    store: local", "    §store:")),
    says: ["components.db.store is empty", "such as offsite"],
  },
  {
    name: "another version",
    text: small((text) => text.replace("version: 1", "version: §2")),
    says: ["version must be 1, not the number 2"],
  },
  {
    name: "a service with capitals",
    text: small((text) => text.replace("shop", "§My Shop")),
    says: ["service must", "lower-case letters, digits and dashes", "shop"],
  },
  {
    name: "a text where a map must be",
    text: small((text) => text.replace("{ type: file, path: /backups }", "§/backups")),
    says: ["stores.local must be a map, not", "/backups"],
  },
  {
    name: "a map where a list must be",
    text: `${SMALL}    §checks: { rows: orders }\n`,
    says: ["components.db.checks must be a list, not a map"],
  },
  {
    name: "a number where a text must be",
    text: small((text) => text.replace(`\${DATABASE_URL}`, "§5")),
    says: ["components.db.connection must be text", "not the number 5"],
  },
  {
    name: "a text where true or false must be",
    text: `${SMALL}notify: { issue: §"yes" }\n`,
    says: ['notify.issue must be true or false, not "yes"'],
  },
  {
    name: "an unknown extent of the census",
    text: `${SMALL}    census: §rows\n`,
    says: ['components.db.census must be full, schema or false, not "rows"'],
  },
  {
    name: "a check of rows without the census that it compares with",
    text: `${SMALL}    census: false\n    checks:\n      - rows: §orders\n`,
    says: ["components.db.checks[0].rows", "compares with the census, which census: false switches off"],
  },
  {
    name: "an integrity that is neither on nor off",
    text: `${SMALL}    integrity: §amcheck\n`,
    says: ['components.db.integrity must be true or false, not "amcheck"'],
  },
  {
    name: "another kind of component",
    text: small((text) => text.replace("type: postgres", "type: §redis")),
    says: ['components.db.type must be postgres, not "redis"'],
  },
  {
    name: "a component without a type",
    text: small((text) => text.replace("  db:", "  §db:").replace("    type: postgres\n", "")),
    says: ["components.db.type is missing"],
  },
  {
    name: "another kind of store",
    text: small((text) => text.replace("type: file", "type: §ftp")),
    says: ['stores.local.type must be s3 or file, not "ftp"'],
  },
  {
    name: "a component's name with capitals",
    text: small((text) => text.replace("  db:", "  §Db:")),
    says: ["components.Db must have a name of lower-case letters"],
  },
  {
    name: "a method that does not exist yet",
    text: `${SMALL}    method: §logical\n`,
    says: ['components.db.method must be physical, not "logical"'],
  },
  {
    name: "WAL from a slot and from a folder",
    text: `${SMALL}    §wal: { slot: one, archive: /wal }\n`,
    says: ["components.db.wal has both slot and archive: remove one of them"],
  },
  {
    name: "a runtime that does not exist",
    text: `${SMALL}    server: { runtime: §kubernetes }\n`,
    says: ['components.db.server.runtime must be auto, local or docker, not "kubernetes"'],
  },
  {
    name: "programs of this machine for a container",
    text: `${SMALL}    server: { runtime: docker, bin-dir: §/usr/lib/postgresql/17/bin }\n`,
    says: ["components.db.server.bin-dir is of this machine, but runtime: docker uses an image"],
  },
  {
    name: "an image for programs of this machine",
    text: `${SMALL}    server: { runtime: local, image: §"postgres:17" }\n`,
    says: ["components.db.server.image is for docker, but runtime: local uses programs of this machine"],
  },
  {
    name: "a slot that PostgreSQL refuses",
    text: `${SMALL}    wal: { slot: §Shop-1 }\n`,
    says: ["components.db.wal.slot must be 1 to 63 lower-case letters, digits and underscores", "Shop-1"],
  },
  {
    name: "a setting that recovery decides",
    text: `${SMALL}    server: { settings: { §archive_mode: on } }\n`,
    says: ["components.db.server.settings.archive_mode is decided by the recovery"],
  },
  {
    name: "a duration without a unit",
    text: `${SMALL}    freshness: { backup: §26 }\n`,
    says: ["components.db.freshness.backup must be a duration such as 45s", "not the number 26"],
  },
  {
    name: "a duration with an unknown unit",
    text: `${SMALL}    freshness: { backup: §2w }\n`,
    says: ["components.db.freshness.backup must be a duration such as 45s", '"2w"'],
  },
  {
    name: "a duration of nothing",
    text: `${SMALL}    freshness: { wal: §0s }\n`,
    says: ["components.db.freshness.wal must be longer than zero"],
  },
  {
    name: "a duration beyond all bounds",
    text: `${SMALL}    freshness: { wal: §99999999999999999999d }\n`,
    says: ["components.db.freshness.wal must be a duration"],
  },
  {
    name: "fewer backups than one",
    text: `${SMALL}    retention: { keep: 30d, minimum: §0 }\n`,
    says: ["components.db.retention.minimum must be at least 1, not the number 0"],
  },
  {
    name: "a review on a day that does not exist",
    text: `${SMALL}review: { every: 90d, last: §2026-02-30 }\n`,
    says: ['review.last must be a day such as 2026-09-01, not "2026-02-30"'],
  },
  {
    name: "no component at all",
    text: "version: 1\nservice: shop\nstores: {}\n§components: {}\n",
    says: ["components must have at least one component"],
  },
];

const CHECKS: Case[] = [
  {
    name: "a check without an expectation",
    text: withCheck("§query: SELECT count(*) FROM orders"),
    says: ["components.db.checks[0] has no expectation", "expect", "max-age"],
  },
  {
    name: "a check with both expectations",
    text: withCheck("§{ query: SELECT max(t) FROM orders, expect: = 1, max-age: 1h }"),
    says: ["components.db.checks[0] has both expect and max-age"],
  },
  {
    name: "a count that is at least zero",
    text: withCheck('{ query: SELECT count(*) FROM orders, expect: §">= 0" }'),
    says: ["components.db.checks[0].expect can't fail"],
  },
  {
    name: "a query of a constant",
    text: withCheck("{ query: §SELECT 1, expect: = 1 }"),
    says: ["components.db.checks[0].query reads no table, so the check can't fail"],
  },
  {
    name: "an expectation without an operator",
    text: withCheck('{ query: SELECT count(*) FROM orders, expect: §"42" }'),
    says: ['components.db.checks[0].expect has no operator in "42"', "= != < <= > >=", "~"],
  },
  {
    name: "an expectation that is a number",
    text: withCheck("{ query: SELECT count(*) FROM orders, expect: §42 }"),
    says: ['components.db.checks[0].expect must be text such as ">= 1"'],
  },
  {
    name: "an expectation that YAML takes for the head of a block",
    text: `${SMALL}    checks:\n      - query: SELECT count(*) FROM orders\n        §expect: >1\n`,
    says: ["components.db.checks[0].expect is empty", '">= 1"'],
  },
  {
    name: "a pattern that is none",
    text: withCheck('{ query: SELECT v FROM orders, expect: §"~ [a" }'),
    says: ["components.db.checks[0].expect has a pattern that is no regular expression", "[a"],
  },
  {
    name: "a check of no kind, with a slip of the pen",
    text: withCheck("§{ querry: SELECT v FROM orders, expect: = 1 }"),
    says: ["components.db.checks[0] must have one of query or rows", "did you mean query", "querry"],
  },
  {
    name: "a check of two kinds",
    text: withCheck("§{ query: SELECT v FROM orders, rows: orders }"),
    says: ["components.db.checks[0] has query and rows, but only one of them is allowed"],
  },
  {
    name: "a check that is a text",
    text: withCheck("§orders"),
    says: ["components.db.checks[0] must be a map with one of query or rows", "orders"],
  },
  {
    name: "rows of something that is no table",
    text: withCheck("{ rows: §orders; DROP TABLE orders }"),
    says: ["components.db.checks[0].rows must be a table such as orders or public.orders"],
  },
  {
    name: "a tolerance that is none",
    text: withCheck("{ rows: orders, tolerance: §few }"),
    says: ["components.db.checks[0].tolerance must be a number of rows or a percentage below 100", "few"],
  },
  {
    name: "a tolerance that forgives everything",
    text: withCheck("{ rows: orders, tolerance: §100% }"),
    says: ["components.db.checks[0].tolerance must be a number of rows or a percentage below 100"],
  },
];

describe("the shape", () => testCases(SHAPE));
describe("checks", () => testCases(CHECKS));
