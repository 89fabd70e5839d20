import type { Component } from "../component.ts";
import { backupPostgres } from "./backup.ts";
import type { PostgresConfig } from "./config.ts";
import { prunePostgres } from "./prune.ts";
import { recoverPostgres } from "./recovery/recover.ts";
import { verifyPostgres } from "./verify/verify.ts";

/** A PostgreSQL cluster, backed up physically. */
export const postgresComponent: Component<PostgresConfig> = {
  backup: backupPostgres,
  prune: prunePostgres,
  verify: verifyPostgres,
  recover: recoverPostgres,
};
