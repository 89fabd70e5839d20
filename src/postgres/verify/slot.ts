import { AbortedError, messageOf, UserError } from "../../errors.ts";
import { connect } from "../source/connection.ts";
import { judgeSlot } from "../source/slot-health.ts";
import { readSlot } from "../source/slot-state.ts";
import { parseUri } from "../source/uri.ts";
import type { Subject } from "./subject.ts";

/** Asks the source how its slot stands, when the connection's variable is set: a verification does without the source. */
export async function inspectSlot({ setting, context, findings }: Subject): Promise<void> {
  const { config, name } = setting;
  if (!("slot" in config.wal)) return;
  const { slot } = config.wal;
  let uri: string;
  try {
    uri = setting.fill(["connection"], config.connection);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    findings.skip(`The replication slot of ${name}: the variable of its connection is not set.`);
    return;
  }
  try {
    const sql = await connect(parseUri(uri, context.env), "sql", context);
    const state = await readSlot(sql, slot).finally(() => sql.close());
    if (state === undefined) {
      const message = `The source of ${name} has no replication slot "${slot}": it removes WAL that is not archived yet.`;
      findings.error(
        "slot-at-risk",
        slot,
        message,
        "Run the backup action, which makes it; take a full backup when WAL is gone.",
      );
      return;
    }
    for (const { severity, message, remedy } of judgeSlot(state.report)) {
      if (severity === "error") findings.error("slot-at-risk", slot, message, remedy);
      else if (severity === "warning") findings.warn("slot-at-risk", slot, message, remedy);
      else findings.skip(message);
    }
  } catch (error) {
    if (context.signal.aborted || error instanceof AbortedError) throw error;
    const message = `The replication slot "${slot}" of ${name} could not be looked at: ${messageOf(error)}`;
    findings.warn("not-verified", slot, message, "Look whether the source runs and the connection is right.");
  }
}
