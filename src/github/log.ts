import { debug, info, warning } from "@actions/core";
import type { Logger } from "../context.ts";
import type { Secrets } from "./secrets.ts";

/**
 * Makes text of databases and tools harmless in a runner's log: a line that starts with `::` is a workflow command
 * there, and so is one with `##[` anywhere in it (actions/runner, ActionCommand.TryParseV2 and TryParse); control
 * characters can hide or forge lines.
 */
export function harmless(text: string): string {
  return text
    .replaceAll(/\r\n?/g, "\n")
    .replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029]/g, " ")
    .replaceAll(/^(\s*)::/gm, "$1| ::")
    .replaceAll("##[", "## [");
}

export function createLogger(secrets: Secrets): Logger {
  const clean = (message: string) => harmless(secrets.redact(message));
  return {
    debug: (message) => debug(clean(message)),
    info: (message) => info(clean(message)),
    warning: (message) => warning(clean(message)),
  };
}
