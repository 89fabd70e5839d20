import { join } from "node:path";
import type { Context } from "../../src/context.ts";
import { UserError } from "../../src/errors.ts";
import { orList } from "../../src/quote.ts";
import { loadRunbook } from "../../src/runbook/load.ts";
import { openService } from "../../src/service.ts";
import { cachedStore } from "./cached-store.ts";
import type { Subject } from "./looks.ts";
import { overlayOf } from "./overlay.ts";

/** A component that can be broken, and the means to look at it; closed by you. */
export interface OpenSubject extends AsyncDisposable {
  readonly subject: Subject;
}

/**
 * Opens a component of a runbook; the only one, unless it is named. Throws a UserError for a runbook or a name that is
 * wrong, and for an environment that must not be drilled.
 */
export async function openSubject(
  file: string,
  component: string | undefined,
  context: Context,
): Promise<OpenSubject> {
  const runbook = loadRunbook(file);
  const names = Object.keys(runbook.config.components);
  const name = component ?? (names.length === 1 ? names[0] : undefined);
  if (name === undefined) {
    throw new UserError(`The runbook has several components: choose ${orList(names)} with --component.`);
  }
  const service = openService(runbook, context);
  const { objectives } = runbook.config;
  const allowed = Object.keys(objectives).filter((one) => objectives[one]?.protected !== true);
  const environment = allowed.includes("drill") ? "drill" : (allowed[0] ?? "drill");
  const setting = await service.setting(name);
  const type = runbook.config.stores[setting.config.store]?.type;
  // What lies far away is fetched once.
  const near =
    type === "file" ? setting.store : cachedStore(setting.store, join(context.workDir, "cache"), context);
  const loaded = await service.load(name);
  return {
    // Whatever writes, a drill with its record too, writes to the overlay.
    subject: {
      runbook,
      setting: { ...setting, store: overlayOf(near) },
      component: loaded,
      environment,
      context,
    },
    [Symbol.asyncDispose]: () => service.close(),
  };
}
