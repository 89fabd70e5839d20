import { join } from "node:path";

/** Folders of the WAL window: the script and {@link import("./wal-window.ts").startWalWindow} talk through them. */
export interface WindowFolders {
  /** Files that are whole and checked. */
  readonly ready: string;
  /** Names of files that are proven not to exist. */
  readonly absent: string;
  /** Names of files that exist but could not be had. */
  readonly failed: string;
  /** Names that PostgreSQL waits for. */
  readonly asked: string;
  /** Files on their way, and second links to those that may be wanted again; never looked at by the script. */
  readonly landing: string;
  readonly kept: string;
}

export function windowFolders(root: string): WindowFolders {
  return {
    ready: join(root, "ready"),
    absent: join(root, "absent"),
    failed: join(root, "failed"),
    asked: join(root, "asked"),
    landing: join(root, "landing"),
    kept: join(root, "kept"),
  };
}

/** A word for the shell, whatever is in it. */
export function quoteForShell(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/**
 * The script behind `restore_command`: PostgreSQL calls it with a file's name and where it wants it, in the data
 * folder. Exit code 0: here it is. 1: it is proven not to exist. 126 and above: recovery must end, because going on
 * would end in a normal promotion with data missing. Codes above 128 that stand for a signal are avoided. It ends
 * by itself when the server is gone.
 */
export function restoreScript(folders: WindowFolders): string {
  return `#!/bin/sh
ready=${quoteForShell(folders.ready)}
absent=${quoteForShell(folders.absent)}
failed=${quoteForShell(folders.failed)}
asked=${quoteForShell(folders.asked)}
case $1 in
  '' | .* | */*) exit 201 ;;
esac
told=
while :; do
  if [ -f "$ready/$1" ]; then
    [ -z "$told" ] || rm -f "$asked/$1"
    mv -f "$ready/$1" "$2" || exit 202
    exit 0
  fi
  [ -f "$absent/$1" ] && exit 1
  [ -f "$failed/$1" ] && exit 203
  if [ -z "$told" ]; then
    : >"$asked/$1" || exit 204
    told=yes
  fi
  read -r server <postmaster.pid || exit 205
  kill -0 "$server" || exit 206
  sleep 0.02 2>/dev/null || sleep 1
done
`;
}

/** The setting for the script: `%` means something to PostgreSQL, so a path's own are doubled. */
export function restoreCommand(script: string): string {
  return `/bin/sh ${quoteForShell(script).replaceAll("%", "%%")} %f "%p"`;
}
