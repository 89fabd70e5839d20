import type { ComponentSetting, Note, SlotReport } from "../../component.ts";
import type { Context } from "../../context.ts";
import type { PostgresConfig } from "../config.ts";
import type { Connection } from "../source/connection.ts";
import { ensureSlot, explainLoss } from "../source/slot.ts";
import { slotNotes } from "../source/slot-health.ts";
import { type ClusterIdentity, describeArchiving } from "../source/source-facts.ts";
import { keepFromRestartPoint, readRestartPoint, type Standby, watchPull } from "../source/standby.ts";
import type { Writer } from "../source/writer.ts";
import { openArchiveFolder } from "./archive-folder.ts";
import { startFolderPull } from "./folder-pull.ts";
import type { WalArchive } from "./wal-archive.ts";
import { planPull, storeTimelines } from "./wal-plan.ts";
import { type Pull, startPull } from "./wal-pull.ts";

/** What WAL is pulled from, and where it goes. */
export interface Source {
  readonly setting: ComponentSetting<PostgresConfig>;
  readonly kind: "full" | "wal";
  readonly sql: Connection;
  readonly walSender: Connection;
  readonly identity: ClusterIdentity;
  readonly writer: Writer;
  readonly standby: Standby | undefined;
  readonly archive: WalArchive;
}

export interface Pulling {
  readonly pull: Pull;
  /** The slot as the run found it. */
  readonly slot?: SlotReport;
  readonly notes?: readonly Note[];
}

export async function pullFromSlot(source: Source, slotName: string, context: Context): Promise<Pulling> {
  const { kind, sql, walSender, identity, standby, archive } = source;
  const slot = await ensureSlot(sql, walSender, slotName, kind, context);
  const notes = slotNotes(slot.report);
  for (const { severity, text } of notes) {
    // Only what is wrong becomes an annotation.
    if (severity === "notice") context.log.info(`${archive.component}: ${text}`);
    else context.log.warning(`${archive.component}: ${text}`);
  }
  const path = await storeTimelines(walSender, identity, archive, context);
  const start =
    standby !== undefined && kind === "full"
      ? await keepFromRestartPoint(sql, walSender, slot)
      : slot.restartLsn;
  const plan = await planPull(archive, identity, path, start, context);
  const whyLost = () => explainLoss(sql, slot.name, context.signal);
  const options = { archive, identity, slot, plan, kind, explainLoss: whyLost };
  const pull = startPull(walSender, options, context);
  return {
    pull: standby === undefined ? pull : watchPull(pull, standby, context),
    slot: slot.report,
    notes,
  };
}

export async function pullFromFolder(source: Source, path: string, context: Context): Promise<Pulling> {
  const { kind, sql, walSender, identity, writer, standby, archive } = source;
  const { systemIdentifier, walSegmentBytes } = identity;
  const folder = await openArchiveFolder({ path, systemIdentifier, segmentBytes: walSegmentBytes });
  const timelines = await storeTimelines(walSender, identity, archive, context);
  const start =
    standby !== undefined && kind === "full" ? (await readRestartPoint(sql)).redo : identity.flushedTo;
  const plan = await planPull(archive, identity, timelines, start, context);
  const explain = () => describeArchiving(writer.sql);
  return { pull: startFolderPull({ archive, folder, identity, plan, kind, explain }, context) };
}
