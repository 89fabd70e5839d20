import type { Context } from "../context.ts";
import type { StoreConfig } from "./config.ts";
import { openFileStore } from "./file.ts";
import type { Store } from "./store.ts";

/**
 * Opens a store of the runbook. `config` has its `${NAME}` filled; `name` is what the runbook calls the store.
 * A call ends with an AbortedError when its own signal is aborted, or `context.signal` where it has none: so a run that
 * was stopped can still clean up, with a signal of its own. The caller closes the store.
 * Throws a UserError for a config that can not work (no credentials, a path or URL that is none).
 */
export async function openStore(config: StoreConfig, name: string, context: Context): Promise<Store> {
  if (config.type === "file") return openFileStore(config, name, context);
  // The SDK takes a while to load and most runs of `validate` and `report` never need it.
  const { openS3Store } = await import("./s3.ts");
  return openS3Store(config, name, context);
}
