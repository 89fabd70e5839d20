/**
 * A process of its own that streams WAL, for what cannot be tried in the test's process: dying by kill -9. It prints
 * its log. Argument: a {@link StreamChild} as JSON.
 */
import { backupPostgres } from "../../../../src/postgres/backup.ts";
import type { StoreConfig } from "../../../../src/stores/config.ts";
import { openStore } from "../../../../src/stores/open.ts";
import { testContext } from "../../../support/context.ts";
import { settingOf } from "../taking.ts";

export interface StreamChild {
  readonly store: StoreConfig;
  readonly url: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly recipients: readonly string[];
  readonly seconds: number;
}

const { store, url, config, recipients, seconds } = JSON.parse(process.argv[2] ?? "") as StreamChild;
const print = (line: string) => console.log(line);
await using context = await testContext({ log: { debug: () => undefined, info: print, warning: print } });
const setting = settingOf(await openStore(store, "local", context), { url, config, recipients });
await backupPostgres(setting, "wal", context, { streamSeconds: seconds });
