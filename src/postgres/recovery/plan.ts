import { objectKey } from "../../catalog/layout.ts";
import { segmentBefore } from "../../catalog/lsn.ts";
import type { BackupManifest } from "../../catalog/manifest.ts";
import { isOnPath, rootTimeline } from "../../catalog/timelines.ts";
import type { WalSegment } from "../../catalog/wal.ts";
import type { RecoveryRequest } from "../../component.ts";
import { DefectError, ToolError, UserError } from "../../errors.ts";
import { ObjectMissing } from "../../stores/store.ts";
import { endOfNeededWal, type PostgresDetails } from "../details.ts";
import type { Goal } from "../goal.ts";
import type { StoreSetting } from "../store-setting.ts";
import { type Candidate, findCandidates } from "./candidates.ts";
import { branchedBefore, noIdentity, unknownTimeline } from "./plan-refusals.ts";
import { type Archive, openArchive } from "./reach.ts";
import { resolveTarget } from "./resolve-target.ts";

/** What a recovery will do, decided before anything is fetched. */
export interface RecoveryPlan {
  readonly manifest: BackupManifest;
  readonly details: PostgresDetails;
  readonly goal: Goal;
  /** The timeline to follow, which may have grown out of the backup's. */
  readonly timeline: number;
  /** Everything that replay can ask for, in order. */
  readonly segments: readonly WalSegment[];
  /** What the archive holds behind the backup without a gap, also beyond the target. */
  readonly chain: readonly WalSegment[];
  /** Timelines whose history file replay needs. */
  readonly histories: readonly number[];
  /** Something the user should know although the target can be reached. */
  readonly warning: string | undefined;
}

/**
 * Chooses the newest backup that can reach the target, resolves the target and lists the WAL that leads there. Throws a
 * {@link UserError} with the recoverable window for a target outside it, and a {@link DefectError} that names the first
 * object that is missing.
 */
export async function planRecovery(
  setting: StoreSetting,
  request: RecoveryRequest,
  signal: AbortSignal,
): Promise<RecoveryPlan> {
  for (let look = 1; ; look += 1) {
    try {
      return await planOnce(setting, request, signal);
    } catch (error) {
      // A run that goes on meanwhile may replace a partial by a longer one, or by the whole, after it was listed.
      if (!(error instanceof ObjectMissing)) throw error;
      if (look === LOOKS) {
        throw new ToolError(
          `${error.subject} is listed, but not in the store: a run replaces it, or the store's listing lags behind; try again.`,
          { cause: error },
        );
      }
    }
  }
}

const LOOKS = 5;

async function planOnce(
  setting: StoreSetting,
  request: RecoveryRequest,
  signal: AbortSignal,
): Promise<RecoveryPlan> {
  const [oldest, ...younger] = await findCandidates(setting, request.backupId, signal);
  if (oldest === undefined) {
    throw new UserError(`${setting.name} has no backup to recover from: run the backup action first.`);
  }
  const archive = openArchive(setting, signal);
  const { timeline } = request.target;
  const candidates = await leadingTo(timeline, [oldest, ...younger], archive);
  const named = request.backupId !== undefined;
  const choice = { archive, candidates, timeline, named, signal };
  const { reach, goal, lastNumber } = await resolveTarget(choice, request);
  await requireObjects(setting, reach.manifest, signal);
  const { manifest, details } = reach;
  const last = lastNumber ?? segmentBefore(endOfNeededWal(details), details.walSegmentBytes);
  return {
    manifest,
    details,
    goal,
    timeline: reach.timeline,
    segments: reach.chain.filter((segment) => segment.number <= last),
    chain: reach.chain,
    histories: reach.timeline > 1 ? [reach.timeline] : [],
    warning:
      reach.gap && goal.kind !== "immediate"
        ? `The WAL of ${setting.name} has a gap behind the target: ${reach.missing} is missing, and nothing after it can be recovered from this backup.`
        : undefined,
  };
}

type Candidates = readonly [Candidate, ...Candidate[]];

/** The backups that lie on the way to a timeline. Throws a {@link UserError} when there is none, or no such timeline. */
async function leadingTo(
  timeline: number | undefined,
  candidates: Candidates,
  archive: Archive,
): Promise<Candidates> {
  if (timeline === undefined) return candidates;
  const { name } = archive.setting;
  const { inventory } = await archive.read(candidates[0].details.walSegmentBytes);
  const { histories } = inventory;
  const known = new Set([...candidates.map(({ details }) => details.timeline), ...histories.keys()]);
  if (!known.has(timeline)) throw unknownTimeline(name, timeline, [...known]);
  const path = histories.get(timeline) ?? rootTimeline(timeline);
  const [first, ...others] = candidates.filter(({ details, stopLsn }) =>
    isOnPath(path, details.timeline, stopLsn),
  );
  if (first === undefined) throw branchedBefore(name, path, candidates[0]);
  return [first, ...others];
}

/** Every object of the backup is there in its full size and can be opened, or nothing is fetched at all. */
async function requireObjects(
  setting: StoreSetting,
  manifest: BackupManifest,
  signal: AbortSignal,
): Promise<void> {
  const { store, name, encryption } = setting;
  for (const object of manifest.objects) {
    const key = objectKey(name, manifest.id, object.name);
    if (object.sealed && encryption.identity() === undefined) throw noIdentity(store.describe(key));
    const found = await store.stat(key, signal);
    if (found?.bytes === object.storedBytes) continue;
    const subject = store.describe(key);
    throw new DefectError(
      subject,
      found === undefined
        ? `${subject} is missing: the backup ${manifest.id} is incomplete.`
        : `${subject} has ${found.bytes} bytes, but the backup recorded ${object.storedBytes}: it is damaged.`,
    );
  }
}
