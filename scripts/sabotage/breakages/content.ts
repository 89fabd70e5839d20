import type { Census, DatabaseCensus } from "../../../src/postgres/census/document.ts";
import { postgresConfig } from "../../../src/postgres/config.ts";
import { type Breakage, drill } from "../breakage.ts";
import { editCensus } from "../documents.ts";
import type { Facts } from "../facts.ts";

/** The census then holds at every position. */
const ALWAYS = { from: "0/0", to: "FFFFFFFF/FFFFFFFF" };

const NOTHING = "SELECT count(*) FROM pg_class WHERE relname = '-'";

const hasCensus = ({ newest }: Facts) => newest.census !== undefined;

function withRole(census: Census): Census {
  const role = { kind: "role", name: "a_role_of_the_source", definition: "LOGIN" };
  return { ...census, roles: { steady: ALWAYS, objects: [...census.roles.objects, role] } };
}

function inMain(
  facts: Facts,
  edit: (database: DatabaseCensus) => DatabaseCensus,
): (census: Census) => Census {
  return (census) => ({
    ...census,
    databases: census.databases.map((one) => {
      const isMain = one.name === facts.newest.details.database && !("notCaptured" in one);
      return isMain ? edit({ ...one, steady: ALWAYS }) : one;
    }),
  });
}

/** The source had an object that the backup does not hold. */
function lost(
  kind: string,
  sentence: string,
  check: string,
  edit: (facts: Facts) => (census: Census) => Census,
): Breakage {
  return {
    name: `${kind} lost`,
    sentence,
    expected: drill(`${check} failed`),
    applies: hasCensus,
    breaks: async (store, facts) => await editCensus(store, facts, edit(facts)),
  };
}

function objectOf(kind: string, name: string): (facts: Facts) => (census: Census) => Census {
  return (facts) =>
    inMain(facts, (database) => ({
      ...database,
      objects: [...database.objects, { kind, name, definition: "as in the source" }],
    }));
}

/** Every byte is as it was written, but it is not what the source had. */
export const CONTENT: readonly Breakage[] = [
  lost("role", "The census knows a role that the backup lacks", "roles as in the census", () => withRole),
  lost(
    "extension",
    "The census knows an extension that the backup lacks",
    "schema as in the census",
    objectOf("extension", "postgis_of_the_source"),
  ),
  lost(
    "table",
    "The census knows a table that the backup lacks",
    "schema as in the census",
    objectOf("table", "public.invoices_of_the_source"),
  ),
  {
    name: "rows lost",
    sentence: "The census counts more rows of a table than the backup holds",
    expected: drill("rows failed"),
    applies: ({ newest, config }) =>
      newest.census !== undefined && config.checks.some((check) => "rows" in check),
    breaks: async (store, facts) => {
      const edit = inMain(facts, (database) => ({
        ...database,
        rows: database.rows.map((one) => ("rows" in one ? { ...one, rows: one.rows * 10 + 1 } : one)),
      }));
      await editCensus(store, facts, edit);
    },
  },
  {
    name: "check expects what is not there",
    sentence: "A check asks for something that was not backed up",
    expected: drill(`${NOTHING} failed`),
    around: () => ({
      config: { checks: postgresConfig.shape.checks.parse([{ query: NOTHING, expect: "= 1" }]) },
    }),
  },
];
