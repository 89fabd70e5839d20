import type { BackupManifest } from "../../catalog/manifest.ts";
import type { WalSegment } from "../../catalog/wal.ts";
import type { ComponentSetting } from "../../component.ts";
import type { Context } from "../../context.ts";
import { AbortedError, DefectError, messageOf } from "../../errors.ts";
import type { CheckResult } from "../../record.ts";
import { type Census, censusOf } from "../census/document.ts";
import { SPELLING } from "../census/objects.ts";
import { readCensus } from "../census/store.ts";
import type { PostgresConfig } from "../config.ts";
import type { PostgresDetails } from "../details.ts";
import type { Ground } from "../integrity/ground.ts";
import { inspect } from "../integrity/inspect.ts";
import { checkMarker } from "../marker/check-marker.ts";
import { cell } from "./ask.ts";
import { type CensusView, runChecks } from "./checks.ts";
import { openAnySession, openSession, type ScratchAddress, type Session } from "./session.ts";

/** A recovered server with what its backup says. */
export interface RecoveredServer {
  readonly setting: ComponentSetting<PostgresConfig>;
  readonly manifest: BackupManifest;
  readonly details: PostgresDetails;
  readonly address: ScratchAddress;
  /** What `max-age` counts back from. */
  readonly momentMicros: bigint;
  /** Where recovery ended. */
  readonly reachedLsn: bigint;
  /** The WAL behind the backup, also beyond where recovery ended. */
  readonly chain: readonly WalSegment[];
  readonly temporaryRole: string;
  readonly context: Context;
}

/** The checks that a recovered server is asked for. */
export interface RecoveredChecks {
  /** Those of the runbook. */
  check(): Promise<CheckResult[]>;
  /** Whether all that came back is whole and is what the census says; undefined with `integrity: false`. */
  readonly inspect: (() => Promise<CheckResult[]>) | undefined;
}

export function checksOf(server: RecoveredServer): RecoveredChecks {
  const { setting, manifest, details, address, context } = server;
  let census: Promise<Census | undefined> | undefined;
  const loadCensus = () => {
    census ??= readCensus(setting, manifest, context.signal);
    return census;
  };
  return {
    async check() {
      const marker = setting.config.marker ? [await compareMarker(server)] : [];
      const results = await runChecks(setting.config.checks, {
        component: setting.name,
        census: async () => viewOf(await loadCensus(), details.database),
        momentMicros: server.momentMicros,
        open: () => openSession(address, details.database, context.signal),
      });
      return [...marker, ...results];
    },
    inspect: setting.config.integrity ? () => inspectWith(server, loadCensus) : undefined,
  };
}

async function compareMarker(server: RecoveredServer): Promise<CheckResult> {
  const { setting, details, address, chain, reachedLsn, context } = server;
  const named = { component: setting.name, check: "marker" };
  const { signal } = context;
  const subject = { setting, chain, reachedLsn, segmentBytes: details.walSegmentBytes, signal };
  try {
    const session = await openSession(address, details.database, signal);
    const answer = await checkMarker(session, subject).finally(() => session.close());
    return { ...named, ...answer };
  } catch (error) {
    if (error instanceof AbortedError || signal.aborted) throw error;
    const expected = "the commits on both sides of the point";
    const status = error instanceof DefectError ? "failed" : "unverified";
    return { ...named, status, expected, actual: messageOf(error) };
  }
}

async function inspectWith(
  server: RecoveredServer,
  loadCensus: () => Promise<Census | undefined>,
): Promise<CheckResult[]> {
  const { setting, details, context } = server;
  const component = setting.name;
  const results: CheckResult[] = [];
  const census = await loadCensus().catch((error: unknown) => {
    if (error instanceof AbortedError || context.signal.aborted) throw error;
    const status = error instanceof DefectError ? ("failed" as const) : ("unverified" as const);
    results.push({ component, check: "census", status, expected: "readable", actual: messageOf(error) });
    return undefined;
  });
  const ground = await groundOf(server, census);
  // Without a census nothing is left out in silence, unless the runbook itself wants none.
  const compare = census !== undefined || (setting.config.census !== false && results.length === 0);
  return [...results, ...(await inspect(ground, component, details.database, compare))];
}

function viewOf(census: Census | undefined, database: string): CensusView | undefined {
  const one = censusOf(census, database);
  return one && { resolve: (table) => census?.tables[table], rows: one.rows };
}

const INSPECTING = [
  // Event triggers of the source would see the extensions that the checks create.
  "SET session_replication_role = replica",
  // A prepared transaction that came with the backup keeps its locks for ever.
  "SET lock_timeout = '30s'",
];

async function groundOf(server: RecoveredServer, census: Census | undefined): Promise<Ground> {
  const { details, address, context } = server;
  const open = async (database: string, statements: readonly string[] = []): Promise<Session> => {
    const session = await openSession(address, database, context.signal);
    for (const statement of [...INSPECTING, ...statements]) await session.query(statement);
    return session;
  };
  const session = await openAnySession(address, [details.database, "postgres", "template1"], context.signal);
  const rows = await session
    .query("SELECT datname FROM pg_database WHERE datallowconn ORDER BY datname")
    .finally(() => session.close());
  return {
    databases: rows.map((row) => cell(row, 0)),
    major: details.major,
    dataChecksums: details.dataChecksums,
    census,
    reachedLsn: server.reachedLsn,
    temporaryRole: server.temporaryRole,
    context,
    open: (database) => open(database),
    openSpelling: (database) => open(database, SPELLING),
  };
}
