import type { Busy, LeaseRequest } from "../catalog/lease.ts";
import type { BackupOptions, BackupOutcome, ComponentSetting } from "../component.ts";
import type { Context } from "../context.ts";
import { ToolError } from "../errors.ts";
import { formatDuration } from "../values.ts";

/** Unless the input `wait-for` says otherwise. */
const WAIT_SECONDS = 600;

/**
 * How long a run waits for another one. A full backup as long as it is told to. A run that streams as long as it would
 * stream, and then does the rest. A short run with `wal` only until it sees the other one live: that one archives the WAL.
 */
export function leaseRequest(
  { store, name }: Pick<ComponentSetting<unknown>, "store" | "name">,
  kind: LeaseRequest["kind"],
  options: Pick<BackupOptions, "streamSeconds" | "waitSeconds" | "leaseTiming">,
): LeaseRequest {
  const { streamSeconds = 0, waitSeconds = WAIT_SECONDS, leaseTiming } = options;
  const yields = kind === "wal" && streamSeconds === 0;
  const wait = { full: waitSeconds, prune: waitSeconds, wal: yields ? WAIT_SECONDS : streamSeconds }[kind];
  const timing = leaseTiming === undefined ? {} : { timing: leaseTiming };
  return { store, component: name, kind, waitSeconds: wait, yields, ...timing };
}

/** What a run with `wal` says when another one archives the WAL. Throws a {@link ToolError} when that is not so. */
export function leaveToOther(busy: Busy, request: LeaseRequest, context: Context): BackupOutcome {
  const { component, kind, waitSeconds } = request;
  if (kind !== "wal" || !busy.alive || busy.kind === "prune") {
    throw new ToolError(
      `${component}: ${busy.who}, still holds the lease after ${formatDuration(waitSeconds)}, and only one run at a time may write there: let it end, or let this one wait for longer with the input wait-for.`,
    );
  }
  const text = `${busy.who}, is at work and archives the WAL, so this run left it to that one. What is recoverable is what that run says.`;
  context.log.info(`${component}: ${text}`);
  return {
    manifest: undefined,
    bytes: 0,
    recoverableUntil: undefined,
    notes: [{ severity: "notice", text }],
  };
}
