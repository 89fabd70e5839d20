import type { Recovered } from "../../../../src/component.ts";
import type { PostgresDetails } from "../../../../src/postgres/details.ts";
import type { PostgresOptions, TestPostgres } from "../../../support/postgres.ts";
import type { ArchivedFile } from "../taking.ts";

/** A cluster in which one or more variants are laid out. */
export interface Ground {
  readonly major: number;
  /** The server that writes; of a standby as the source: its primary. */
  readonly server: TestPostgres;
  /** An empty folder outside of the data folder, which the server's user owns. */
  makeFolder(): string;
  sql(text: string, database?: string): Promise<string | null | undefined>;
}

/** What came back. */
export interface Evidence {
  readonly major: number;
  readonly recovered: Recovered;
  readonly details: PostgresDetails;
  /** Files of the backup by their path below the data folder. */
  readonly files: ReadonlyMap<string, ArchivedFile>;
  /** The first value that the recovered server answers. */
  sql(text: string, database?: string): Promise<string | null | undefined>;
}

/** One way in which a source can look, and what proves that it came back. */
export interface Variant {
  readonly name: string;
  /** The oldest major that has it. */
  readonly since?: number;
  readonly postgres?: (major: number) => PostgresOptions;
  /** What the source is besides a server that was always the primary. */
  readonly source?: "promoted" | "standby";
  /** Checks of the runbook. */
  readonly checks?: readonly Readonly<Record<string, unknown>>[];
  /** Those of the checks that cannot be answered, and why: they are unverified, never failed. */
  readonly unanswered?: Readonly<Record<string, RegExp>>;
  /** Before the backup. */
  prepare?(ground: Ground): Promise<void>;
  /** Between the backup and the target. */
  between?(ground: Ground): Promise<void>;
  /** Fails when the variant did not come back as it was. */
  prove(evidence: Evidence): Promise<void>;
}
