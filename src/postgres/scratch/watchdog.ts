import { spawn } from "node:child_process";

/** A process of this machine, or a container and the program of the engine that runs it. */
type Watched = { readonly pid: number } | { readonly container: string; readonly engine: string };

/**
 * A small shell process that outlives us. When we die without a word (SIGKILL, out of memory), its standard input
 * ends; it then stops the server and removes the folders, so that nothing is left running or lying about.
 */
export interface Watchdog {
  /** From now on this folder is removed too. */
  guard(folder: string): void;
  /** From now on this server is ended too; undefined: it has ended. */
  watch(server: Watched | undefined): void;
  /** Sends it away: nothing is stopped or removed any more. */
  dismiss(): Promise<void>;
}

/**
 * `kill -QUIT` is PostgreSQL's immediate shutdown, which also ends a `restore_command` at work. A container may still be
 * on its way when we die, so its removal is tried until the engine names it as removed.
 */
const SCRIPT = `
PATH=$PATH:/usr/bin:/bin
server=
container=
set --
while read -r word value; do
  case $word in
    guard) set -- "$@" "$value" ;;
    server) server=$value container= ;;
    container) server= container=$value ;;
    done) exit 0 ;;
  esac
done
if [ -n "$server" ] && kill -QUIT "$server" 2>/dev/null; then
  tries=0
  while kill -0 "$server" 2>/dev/null && [ "$tries" -lt 40 ]; do
    tries=$((tries + 1))
    sleep 0.1 2>/dev/null || sleep 1
  done
  kill -KILL "-$server" 2>/dev/null
fi
if [ -n "$container" ]; then
  tries=0
  until [ "$tries" -eq 3 ] || [ -n "$("\${container#* }" rm --force --volumes "\${container%% *}" 2>/dev/null)" ]; do
    tries=$((tries + 1))
    sleep 1
  done
fi
[ "$#" -eq 0 ] || rm -rf -- "$@"
`;

/** `env` is for the program of a container's engine, which must find the same engine as ours did. */
export function startWatchdog(env: Readonly<Record<string, string | undefined>>): Watchdog {
  // Its own session: a Ctrl-C in the terminal must not end it before us.
  const child = spawn("/bin/sh", ["-c", SCRIPT], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
    cwd: "/",
    env,
  });
  const ended = new Promise<void>((resolve) => {
    child.once("close", () => resolve());
    child.once("error", () => resolve());
  });
  child.unref();
  // A shell that has died cannot be told anything; what it guarded is still removed by us.
  child.stdin.on("error", () => undefined);
  function tell(line: string): void {
    if (child.stdin.writable) child.stdin.write(`${line}\n`);
  }
  return {
    guard: (folder) => tell(`guard ${folder}`),
    watch(server) {
      if (server === undefined) tell("server ");
      else if ("pid" in server) tell(`server ${server.pid}`);
      else tell(`container ${server.container} ${server.engine}`);
    },
    async dismiss() {
      // Waiting for a child that does not count would let the event loop run empty.
      child.ref();
      tell("done");
      child.stdin.end();
      await ended;
    },
  };
}
