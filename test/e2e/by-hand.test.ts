import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { chown, cp, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import pg from "pg";
import { expect, test } from "vitest";
import { freePort } from "../../scripts/lib/free-port.ts";
import { guardedFolder, type User } from "../../scripts/lib/guard.ts";
import { requireTool } from "../support/tools.ts";
import { filesBelow, openWorld, type World } from "../support/world.ts";

const root = join(import.meta.dirname, "../..");
const missing = ["age", "zstd", "tar"].filter((tool) => requireTool(tool) === undefined);

/** The shell block of the README, word for word. */
async function readmeScript(): Promise<string> {
  const readme = await readFile(join(root, "README.md"), "utf8");
  const [, tested = ""] = readme.split("<!-- tested: start -->");
  const script = /```sh\n(.*?)```/s.exec(tested.split("<!-- tested: end -->")[0] ?? "")?.[1];
  if (script === undefined) throw new Error("The README has no tested shell block.");
  return script;
}

/** Every object of the store but the records of drills, by its SHA-256 and the time it was written. */
async function digestsOf(storeDir: string): Promise<Map<string, string>> {
  const digests = new Map<string, string>();
  for (const file of await filesBelow(storeDir)) {
    if (file.startsWith("drills/")) continue;
    const path = join(storeDir, file);
    const sha256 = createHash("sha256")
      .update(await readFile(path))
      .digest("hex");
    digests.set(file, `${sha256} ${(await stat(path)).mtimeMs}`);
  }
  expect(digests.size).toBeGreaterThan(5);
  return digests;
}

async function own(folder: string, user: User | undefined): Promise<void> {
  if (user === undefined) return;
  await chown(folder, user.uid, user.gid);
  for (const entry of await readdir(folder, { recursive: true })) {
    await chown(join(folder, entry), user.uid, user.gid);
  }
}

/** Starts `postgres -D data` as the README says and returns the notes that the recovered database holds. */
async function notesAfterRecovery(folder: string, { server }: World): Promise<string[]> {
  const port = await freePort();
  let log = "";
  const postgres = spawn(
    join(server.binDir, "postgres"),
    ["-D", "data", "-p", String(port), "-c", `unix_socket_directories=${folder}`],
    { ...server.user, cwd: folder, stdio: ["ignore", "ignore", "pipe"] },
  );
  postgres.stderr.on("data", (chunk) => {
    log += String(chunk);
  });
  for (let i = 0; i < 600 && !log.includes("archive recovery complete"); i += 1) {
    if (postgres.exitCode !== null) throw new Error(log);
    await sleep(100);
  }
  expect(log).toContain("archive recovery complete");
  const client = new pg.Client({
    host: "127.0.0.1",
    port,
    user: "postgres",
    password: server.password,
    database: "postgres",
  });
  for (let i = 0; i < 50 && !log.includes("ready to accept connections"); i += 1) await sleep(100);
  await client.connect();
  const { rows } = await client.query<{ note: string }>("SELECT note FROM notes ORDER BY note");
  await client.end();
  postgres.kill("SIGINT");
  return rows.map((row) => row.note);
}

/** Writes a note, then one behind the target, and waits until a partial holds them both; the target. */
async function afterPartial({ server, storeDir }: World, note: string): Promise<string> {
  const partials = async () => {
    const files = await filesBelow(join(storeDir, "db/wal"));
    return files.filter((file) => file.endsWith(".partial.zst.age")).join();
  };
  while ((await partials()) === "") await sleep(50);
  const first = await partials();
  await server.query("INSERT INTO notes VALUES ($1)", [note]);
  const [row] = await server.query<{ now: string }>("SELECT clock_timestamp()::text AS now");
  await sleep(50);
  await server.query("INSERT INTO notes VALUES ('5 after the target')");
  while ((await partials()) === first) await sleep(50);
  return row?.now ?? "";
}

test.skipIf(missing.length > 0)(
  `two drills and then the README's commands recover to a second, and leave the store as it was${missing.length > 0 ? `: skipped, this machine has no ${missing.join(", ")}` : ""}`,
  async () => {
    await using world = await openWorld({
      component: {
        checks: [{ query: "SELECT count(*) FROM notes", expect: ">= 4" }],
        freshness: { wal: "2s" },
      },
    });
    const { server } = world;
    await server.query("CREATE TABLE notes (note text)");
    await server.query("INSERT INTO notes VALUES ('1 before the backup')");
    const backup = await world.run("backup");
    await server.query("INSERT INTO notes VALUES ('2 before the target')");
    await sleep(50);
    await server.query("INSERT INTO notes VALUES ('3 before the target')");
    const wal = await world.run("backup", { kind: "wal" });
    expect([backup.exitCode, wal.exitCode]).toEqual([0, 0]);
    // Broken off, so that the target lies in a segment that is there in part only.
    const stream = await world.start("backup", { kind: "wal", "stream-for": "10m" });
    const target = await afterPartial(world, "4 in the partial");
    stream.kill("SIGKILL");
    await stream.done;
    await server.kill9();
    const before = await digestsOf(world.storeDir);
    for (const point of ["latest", target.replace(" ", "T")]) {
      const drill = await world.run("pitr-drill", { target: point });
      expect(drill.exitCode, drill.visible).toBe(0);
    }

    const guarded = await guardedFolder("drillbook-hand-", server.user);
    try {
      const folder = guarded.path;
      await cp(join(world.storeDir, "db"), join(folder, "store"), { recursive: true });
      await writeFile(join(folder, "key.txt"), `${world.identity}\n`);
      await writeFile(join(folder, "recover.sh"), await readmeScript());
      await own(folder, server.user);
      await promisify(execFile)("/bin/sh", ["recover.sh"], {
        ...server.user,
        cwd: folder,
        env: {
          PATH: process.env.PATH,
          STORE: join(folder, "store"),
          BACKUP: backup.outputs["backup-id"],
          KEY: join(folder, "key.txt"),
          TARGET: target,
        },
      });
      expect(await notesAfterRecovery(folder, world)).toEqual([
        "1 before the backup",
        "2 before the target",
        "3 before the target",
        "4 in the partial",
      ]);
      expect(await digestsOf(world.storeDir)).toEqual(before);
    } finally {
      await guarded.remove();
    }
  },
);
