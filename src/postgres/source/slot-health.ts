import type { Note, SlotReport } from "../../component.ts";
import { formatBytes } from "../../values.ts";

/** Something about a slot that somebody should know. `notice`: nothing is wrong yet. */
export interface SlotFinding {
  readonly severity: "error" | "warning" | "notice";
  readonly message: string;
  readonly remedy: string;
}

/** From this part of `max_slot_wal_keep_size` on, what the slot keeps is a warning. */
const KEPT_PART = 0.5;
const GIB = 2 ** 30;
/** A limit that is recommended is at least this, and several times what is kept now. */
const LEAST_LIMIT_GIB = 16;
const TIMES_KEPT = 4;

/** What a slot's state means: at most one finding on the WAL it keeps, and one when nothing limits that. */
export function judgeSlot(slot: SlotReport): SlotFinding[] {
  const most = slot.maxKeepBytes === null ? "unlimited" : formatBytes(slot.maxKeepBytes);
  const limit = `max_slot_wal_keep_size is ${most}`;
  const kept = slot.retainedBytes === null ? "" : `, ${formatBytes(slot.retainedBytes)} now`;
  const raise = `Run the backup action with kind: wal more often, or raise max_slot_wal_keep_size: ALTER SYSTEM SET max_slot_wal_keep_size = '${recommended(slot)}', then SELECT pg_reload_conf().`;
  if (slot.walStatus === "lost") {
    return [
      {
        severity: "error",
        message: `The replication slot "${slot.name}" lost its WAL (${limit}).`,
        remedy: `Take a full backup, which makes the slot anew and begins a new chain. ${raise}`,
      },
    ];
  }
  const findings: SlotFinding[] = [];
  if (slot.walStatus === "unreserved") {
    findings.push({
      severity: "warning",
      message: `The replication slot "${slot.name}" is about to lose its WAL: it keeps more than the server allows${kept} (${limit}), and the next checkpoint removes some of it.`,
      remedy: raise,
    });
  } else if (isAboveHalf(slot)) {
    findings.push({
      severity: "warning",
      message: `The replication slot "${slot.name}" keeps more than half of the WAL that the server allows${kept} (${limit}): when it reaches the limit, the slot is lost and the chain of WAL breaks.`,
      remedy: raise,
    });
  } else if (slot.walStatus === "extended") {
    findings.push({
      severity: "warning",
      message: `The replication slot "${slot.name}" keeps more WAL than max_wal_size${kept}: the server's disk holds it until a run has read it.`,
      remedy: "Run the backup action with kind: wal more often, and see that the server's disk has room.",
    });
  }
  if (slot.maxKeepBytes === null) {
    findings.push({
      severity: "notice",
      message: `Nothing limits the WAL that the replication slot "${slot.name}" keeps${kept}: when no run reads it any more, it fills the server's disk.`,
      remedy: `If the disk has so much to spare, ALTER SYSTEM SET max_slot_wal_keep_size = '${recommended(slot)}', then SELECT pg_reload_conf().`,
    });
  }
  return findings;
}

function isAboveHalf({ retainedBytes, maxKeepBytes }: SlotReport): boolean {
  return retainedBytes !== null && maxKeepBytes !== null && retainedBytes > maxKeepBytes * KEPT_PART;
}

/** As PostgreSQL takes it. */
function recommended({ retainedBytes, maxKeepBytes }: SlotReport): string {
  const wanted = Math.max((retainedBytes ?? 0) * TIMES_KEPT, (maxKeepBytes ?? 0) * 2);
  return `${Math.max(LEAST_LIMIT_GIB, Math.ceil(wanted / GIB))}GB`;
}

/** `The slot "drillbook" keeps 12.0 MiB of WAL from 0/3000000 on (reserved), of at most 10.0 GiB.` */
function describeSlot(slot: SlotReport): string {
  const { name, walStatus, restartLsn, retainedBytes, maxKeepBytes } = slot;
  const kept =
    retainedBytes === null ? "no WAL" : `${formatBytes(retainedBytes)} of WAL from ${restartLsn} on`;
  const most = maxKeepBytes === null ? "without a limit" : `of at most ${formatBytes(maxKeepBytes)}`;
  return `The slot "${name}" keeps ${kept} (${walStatus ?? "not reserved"}), ${most}.`;
}

/** What a run says of the slot. */
export function slotNotes(slot: SlotReport): Note[] {
  return [
    { severity: "notice", text: describeSlot(slot) },
    ...judgeSlot(slot).map(({ severity, message, remedy }) => ({ severity, text: `${message} ${remedy}` })),
  ];
}
