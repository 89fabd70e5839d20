import { formatDuration } from "../values.ts";
import type { BackupManifest } from "./manifest.ts";

/** Which of a component's backups retention lets go, and why. Pure: nothing here touches a store. */

export interface RetentionPolicy {
  /** Backups older than this may go. */
  readonly keepSeconds: number;
  /** So many of the newest backups stay, however old they are; at least 1. */
  readonly minimum: number;
}

/** A backup that is older than the policy keeps backups. */
export interface Decision {
  readonly backup: BackupManifest;
  /** `waits`: it would go if a newer backup were proven. */
  readonly verdict: "goes" | "stays" | "waits";
  /** Why, as the end of a sentence. */
  readonly why: string;
}

/** The newest backup that was proven good, and how: `verified on …`, `drilled in …`. */
export interface Proof {
  readonly backupId: string;
  readonly how: string;
}

/**
 * Decides on each backup that is older than `keepSeconds`, oldest first. One goes only when it is not among the `minimum`
 * newest and a newer one has been proven: a backup that nobody ever read is no reason to delete another. So the newest
 * proven one always stays. `backups` are in order of time.
 */
export function decide(
  backups: readonly BackupManifest[],
  policy: RetentionPolicy,
  proof: Proof | undefined,
  now: Date,
): Decision[] {
  const old = backups.filter((backup) => isOlder(backup, policy, now));
  const surplus = selectExpired(backups, policy, now);
  const proven = backups.findIndex((backup) => backup.id === proof?.backupId);
  const newest = backups.at(-1)?.id ?? "";
  const age = `it is older than ${formatDuration(policy.keepSeconds)}`;
  return old.map((backup): Decision => {
    if (!surplus.includes(backup)) {
      const why = `although ${age}, because at least ${Math.max(1, policy.minimum)} backups stay`;
      return { backup, verdict: "stays", why };
    }
    if (proof !== undefined && backups.indexOf(backup) < proven) {
      return { backup, verdict: "goes", why: `${age}, and the newer ${proof.backupId} was ${proof.how}` };
    }
    const lacking =
      backup.id === proof?.backupId
        ? `it is the newest that has been proven (${proof.how})`
        : "no newer backup has been proven";
    const why = `although ${age}, because ${lacking}: verify ${newest}, or drill it`;
    return { backup, verdict: "waits", why };
  });
}

/** The backups that a policy no longer asks for, oldest first; never the newest. `backups` are in order of time. */
export function selectExpired(
  backups: readonly BackupManifest[],
  policy: RetentionPolicy,
  now: Date,
): BackupManifest[] {
  const surplus = backups.slice(0, Math.max(0, backups.length - Math.max(1, policy.minimum)));
  return surplus.filter((backup) => isOlder(backup, policy, now));
}

function isOlder(backup: BackupManifest, policy: RetentionPolicy, now: Date): boolean {
  return Date.parse(backup.finishedAt) < now.getTime() - policy.keepSeconds * 1000;
}
