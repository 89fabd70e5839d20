import { getExecOutput } from "@actions/exec";
import type { ToolResult } from "../context.ts";
import { messageOf, ToolError } from "../errors.ts";

/** Runs a short-lived tool without a shell; an exit code other than 0 is an answer, not an error. */
export async function runTool(command: string, args: readonly string[]): Promise<ToolResult> {
  try {
    return await getExecOutput(command, [...args], { silent: true, ignoreReturnCode: true });
  } catch (error) {
    throw new ToolError(`${command} could not be started: ${messageOf(error)}`, { cause: error });
  }
}
