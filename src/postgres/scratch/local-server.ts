import type { ServerBinary } from "./binaries.ts";
import { follow } from "./follow.ts";
import { identityOf } from "./run-user.ts";
import { INTERRUPT_MS, QUIT_MS, type ServerRuntime } from "./server.ts";

/** `postgres` as a direct child of this process: no pg_ctl, whose success means something else than ours. */
export function localRuntime(binary: ServerBinary): ServerRuntime {
  return {
    label: undefined,
    async start(scratch, configFile, onLine) {
      const child = await follow(
        binary.path,
        ["-D", scratch.data, "-c", `config_file=${configFile}`],
        { ...identityOf(scratch.user), cwd: scratch.root, env: serverEnvironment() },
        onLine,
      );
      scratch.watchdog.watch({ pid: child.pid });
      void child.exited.then(() => scratch.watchdog.watch(undefined));
      return {
        title: `process ${child.pid}`,
        stopCommand: `kill -INT ${child.pid}`,
        ending: child.ending,
        ended: child.ended,
        requireReach: async () => undefined,
        async stop() {
          if (child.ending() !== undefined) return;
          child.kill("SIGINT");
          if (await child.endsWithin(INTERRUPT_MS)) return;
          child.kill("SIGQUIT");
          if (await child.endsWithin(QUIT_MS)) return;
          child.kill("SIGKILL", { group: true });
          await child.exited;
        },
        release: child.release,
      };
    },
  };
}

/** Only what a server needs: PGDATA, PGOPTIONS and the like of the job must not reach it. */
function serverEnvironment(): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = { PATH: process.env.PATH, LC_ALL: "C", TZ: "UTC" };
  for (const name of ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR"]) {
    if (process.env[name] !== undefined) env[name] = process.env[name];
  }
  return env;
}
