import { AbortedError } from "../../errors.ts";
import { censusOf } from "../census/document.ts";
import { feedingSequences, isBehind } from "../census/sequences.ts";
import type { Ask } from "../checks/ask.ts";
import { tell } from "./damage.ts";
import { type Answer, boundedLines, type Ground } from "./ground.ts";

const EXPECTED = "no sequence that would give a value again";

/** Every sequence that feeds a column against the column's largest value. */
export async function checkSequences(ground: Ground): Promise<Answer> {
  let total = 0;
  const failed: string[] = [];
  const unknown: string[] = [];
  const notes: string[] = [];
  for (const database of ground.databases) {
    const session = await ground.open(database);
    try {
      const ask: Ask = (text, values) => session.query(text, values);
      const known = censusOf(ground.census, database)?.sequences;
      for (const feeding of await feedingSequences(ask)) {
        total += 1;
        const subject = `${database}: sequence ${feeding.sequence} is behind ${feeding.table}.${feeding.column}`;
        try {
          if (!(await isBehind(ask, feeding))) continue;
        } catch (error) {
          if (error instanceof AbortedError) throw error;
          unknown.push(`${database}: sequence ${feeding.sequence}: ${tell(error)}`);
          continue;
        }
        const then = known?.find((one) => one.name === feeding.sequence);
        if (then?.behind === true) notes.push(`${subject}, as in the source`);
        else if (then?.behind === false) failed.push(`${subject}, and was not when the backup was taken`);
        else unknown.push(`${subject}, and the census does not say whether it is so in the source`);
      }
    } finally {
      await session.close();
    }
  }
  const parts = [`checked ${total} of ${total}`];
  if (failed.length > 0) parts.push(`${failed.length} behind: ${failed[0]}`);
  if (unknown.length > 0) parts.push(`${unknown.length} not proven: ${unknown[0]}`);
  if (notes.length > 0) parts.push(`${notes.length} behind as in the source`);
  const lines = boundedLines([...failed, ...unknown, ...notes]);
  return {
    status: failed.length > 0 ? "failed" : unknown.length > 0 ? "unverified" : "passed",
    expected: EXPECTED,
    actual: parts.join(", "),
    ...(lines.length === 0 ? {} : { lines }),
  };
}
