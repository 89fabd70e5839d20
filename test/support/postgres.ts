export type { PostgresOptions, TestPostgres } from "../../scripts/lib/postgres.ts";
export { startPostgres } from "../../scripts/lib/postgres.ts";
export { availableMajors } from "../../scripts/lib/postgres-binaries.ts";
