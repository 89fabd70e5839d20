import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/**
 * The path of a command-line tool that a test wants, or undefined if this machine has none: then the test is skipped and its
 * name should say so. In CI every tool must be there, so there its absence is an error.
 */
export function requireTool(name: string): string | undefined {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this folder.
    }
  }
  if (process.env.CI === "true") throw new Error(`The tests need the command ${name}: install it.`);
  return undefined;
}
