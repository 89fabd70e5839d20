/**
 * A process of its own that recovers, for what cannot be tried in the test's process: dying by kill -9, and running as
 * another user. Arguments: store folder, the runbook's `server` as JSON, work folder, target, `hang` or `end`.
 */
import { execFile } from "node:child_process";
import type { Context } from "../../../../src/context.ts";
import { recoverPostgres } from "../../../../src/postgres/recovery/recover.ts";
import { openStore } from "../../../../src/stores/open.ts";
import { parseTarget } from "../../../../src/targets.ts";
import { settingOf } from "../taking.ts";

const [storeFolder = "", server = "{}", workDir = "", target = "latest", mode = "end"] =
  process.argv.slice(2);
const quiet = () => undefined;
const context: Context = {
  log: { debug: quiet, info: quiet, warning: quiet },
  signal: new AbortController().signal,
  env: process.env,
  workDir,
  now: () => new Date(),
  mask: quiet,
  runTool: (command, args) =>
    new Promise((resolve, reject) => {
      execFile(command, [...args], (error, stdout, stderr) => {
        if (error === null) resolve({ exitCode: 0, stdout, stderr });
        else reject(error);
      });
    }),
};
const store = await openStore({ type: "file", path: storeFolder }, "local", context);
/** With `hang-wal`, WAL never comes, so that the server waits in its restore_command. */
const hanging = {
  describe: store.describe.bind(store),
  put: store.put.bind(store),
  create: store.create.bind(store),
  list: store.list.bind(store),
  stat: store.stat.bind(store),
  delete: store.delete.bind(store),
  removeUnfinished: store.removeUnfinished.bind(store),
  close: store.close.bind(store),
  get: (key: string, options?: Parameters<typeof store.get>[1]) =>
    mode === "hang-wal" && key.endsWith(".zst") && key.includes("/wal/")
      ? new Promise<never>(() => undefined)
      : store.get(key, options),
};
const setting = settingOf(hanging, { url: "", config: { server: JSON.parse(server) } });
const keepAlive = setInterval(quiet, 1_000);
const request = { target: parseTarget(target), backupId: undefined, now: new Date() };
const recovered = await recoverPostgres(setting, request, context);
console.log(
  JSON.stringify({ uid: process.getuid?.(), reached: recovered.reached, access: recovered.access }),
);
if (mode === "end") {
  await recovered.dispose();
  clearInterval(keepAlive);
}
