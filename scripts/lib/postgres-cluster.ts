import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, chown, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { User } from "./guard.ts";

export interface PostgresOptions {
  /** Default: the newest that npm installed. */
  readonly major?: number;
  /** Lines for postgresql.conf, over the defaults for tests. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
  /** More arguments for initdb, such as `--wal-segsize=1` or `--no-data-checksums`. */
  readonly initdbArgs?: readonly string[];
  /** Lines of pg_hba.conf that come before the ones that let everybody in by password. */
  readonly hba?: readonly string[];
  /** The configuration files lie beside the data folder, as Debian has them, and not in it. */
  readonly configOutside?: boolean;
  /** Of the superuser `postgres`; default: a random one. */
  readonly password?: string;
}

const DEFAULTS = {
  fsync: false,
  full_page_writes: true,
  wal_level: "replica",
  max_wal_senders: 10,
  max_replication_slots: 10,
  shared_buffers: "32MB",
  max_wal_size: "512MB",
  autovacuum_naptime: "10s",
  log_min_messages: "warning",
  log_line_prefix: "%m [%p] ",
  lc_messages: "C",
  timezone: "UTC",
  log_timezone: "UTC",
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
};

/** Makes the data folder `data` below a folder, with its configuration. */
export async function initialize(
  folder: string,
  binDir: string,
  user: User | undefined,
  password: string,
  options: PostgresOptions,
): Promise<void> {
  const passwordFile = join(folder, "password");
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  if (user !== undefined) await chown(passwordFile, user.uid, user.gid);
  const data = join(folder, "data");
  const initdb = spawn(
    join(binDir, "initdb"),
    [
      ...["-D", data, "-U", "postgres", "--auth=scram-sha-256", `--pwfile=${passwordFile}`],
      ...["--encoding=UTF8", "--locale=C", "--no-sync", ...(options.initdbArgs ?? [])],
    ],
    { ...user, cwd: "/", stdio: ["ignore", "pipe", "pipe"] },
  );
  let output = "";
  initdb.stdout.on("data", (chunk) => {
    output += String(chunk);
  });
  initdb.stderr.on("data", (chunk) => {
    output += String(chunk);
  });
  const [code] = await once(initdb, "close");
  if (code !== 0) throw new Error(`initdb failed:\n${output}`);
  await rm(passwordFile);
  await appendFile(join(data, "postgresql.conf"), confLines({ ...DEFAULTS, ...options.settings }));
  const hba = [
    ...(options.hba ?? []),
    "host all all 127.0.0.1/32 scram-sha-256",
    "host replication all 127.0.0.1/32 scram-sha-256",
  ];
  await writeFile(join(data, "pg_hba.conf"), `${hba.join("\n")}\n`);
  if (options.configOutside === true) await moveConfiguration(folder, user);
}

/** Where the configuration lies when it is not in the data folder. */
export function outsideOf(folder: string): string {
  return join(folder, "etc/postgresql.conf");
}

async function moveConfiguration(folder: string, user: User | undefined): Promise<void> {
  const data = join(folder, "data");
  const etc = join(folder, "etc");
  await mkdir(etc);
  for (const file of ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"]) {
    await rename(join(data, file), join(etc, file));
  }
  const places = {
    data_directory: data,
    hba_file: join(etc, "pg_hba.conf"),
    ident_file: join(etc, "pg_ident.conf"),
  };
  await appendFile(join(etc, "postgresql.conf"), confLines(places));
  if (user !== undefined) await chown(etc, user.uid, user.gid);
}

/** Settings as lines of postgresql.conf. */
export function confLines(settings: Readonly<Record<string, string | number | boolean>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name} = '${String(value).replaceAll("'", "''")}'\n`)
    .join("");
}
