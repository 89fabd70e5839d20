import { binariesFor, serverUser } from "../../scripts/lib/postgres-binaries.ts";

export type { TestPostgres } from "../../scripts/lib/postgres.ts";
export { startPostgres, startStandby } from "../../scripts/lib/postgres.ts";
export { availableMajors } from "../../scripts/lib/postgres-binaries.ts";
export type { PostgresOptions } from "../../scripts/lib/postgres-cluster.ts";

/** The folder with the server programs of another major, at a place that the server's user can reach. */
export function binDirOf(major: number): Promise<string> {
  return binariesFor(major, serverUser());
}
