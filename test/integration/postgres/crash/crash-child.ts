/**
 * A process of its own that backs up, archives WAL, streams or prunes, to be killed. It prints `begin` when it begins, then
 * its log, at the end `outcome` with what it returned. Argument: a {@link CrashChild} as JSON.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { backupPostgres } from "../../../../src/postgres/backup.ts";
import { prunePostgres } from "../../../../src/postgres/prune.ts";
import { openStore } from "../../../../src/stores/open.ts";
import type { Store } from "../../../../src/stores/store.ts";
import { testContext } from "../../../support/context.ts";
import { settingOf } from "../taking.ts";

export type CrashAction = "full" | "wal" | "stream" | "prune";

export interface CrashChild {
  readonly action: CrashAction;
  readonly folder: string;
  readonly url: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** How far its clock is ahead. */
  readonly aheadMs: number;
  /** How long each request to the store takes longer, as over a network. */
  readonly delayMs: number;
}

const child = JSON.parse(process.argv[2] ?? "") as CrashChild;
const print = (line: string) => console.log(line);
await using context = await testContext({
  log: { debug: () => undefined, info: print, warning: print },
  now: () => new Date(Date.now() + child.aheadMs),
});
const store = await openStore({ type: "file", path: child.folder }, "local", context);
const setting = settingOf(distant(store, child.delayMs), { url: child.url, config: child.config });
print("begin");
const outcome =
  child.action === "prune"
    ? await prunePostgres(setting, context)
    : await backupPostgres(setting, child.action === "full" ? "full" : "wal", context, {
        streamSeconds: child.action === "stream" ? 60 : 0,
      });
print(`outcome ${JSON.stringify(outcome)}`);

/** The store behind a slow network: more moments at which a process can die. */
function distant(near: Store, milliseconds: number): Store {
  const late = () => sleep(milliseconds);
  return {
    ...near,
    put: async (...args) => {
      await late();
      return await near.put(...args);
    },
    create: async (...args) => {
      await late();
      return await near.create(...args);
    },
    stat: async (...args) => {
      await late();
      return await near.stat(...args);
    },
    // One key at a time, as a batch is not atomic.
    delete: async (keys, signal) => {
      for (const key of keys) {
        await late();
        await near.delete([key], signal);
      }
    },
  };
}
