import { expect } from "vitest";
import type { Variant } from "./variant.ts";

/** What a cluster can be. Those of one list exclude each other. */

export const checksumsOn: Variant = {
  name: "data checksums on",
  postgres: () => ({ initdbArgs: ["--data-checksums"] }),
  async prove({ sql, details }) {
    expect(details.dataChecksums).toBe(true);
    expect(await sql("SHOW data_checksums")).toBe("on");
    expect(await sql("SELECT data_page_checksum_version FROM pg_control_init()")).toBe("1");
  },
};

export const checksumsOff: Variant = {
  name: "data checksums off",
  postgres: (major) => ({ initdbArgs: major >= 18 ? ["--no-data-checksums"] : [] }),
  async prove({ sql, details }) {
    expect(details.dataChecksums).toBe(false);
    expect(await sql("SHOW data_checksums")).toBe("off");
  },
};

export const largeSegments: Variant = {
  name: "WAL segments of 64 MiB",
  postgres: () => ({ initdbArgs: ["--wal-segsize=64"], settings: { max_wal_size: "1GB" } }),
  async prepare(ground) {
    await ground.sql("CREATE TABLE in_segments (id int)");
  },
  async between(ground) {
    await ground.sql("INSERT INTO in_segments SELECT generate_series(1, 1000)");
    await ground.sql("SELECT pg_switch_wal()");
    await ground.sql("INSERT INTO in_segments SELECT generate_series(1001, 2000)");
  },
  async prove({ sql, details }) {
    expect(details.walSegmentBytes).toBe(64 * 2 ** 20);
    expect(await sql("SHOW wal_segment_size")).toBe("64MB");
    expect(await sql("SELECT sum(id) FROM in_segments")).toBe("2001000");
  },
};

export const promoted: Variant = {
  name: "a promoted source with a timeline's history",
  source: "promoted",
  async prepare(ground) {
    await ground.sql("CREATE TABLE after_promotion AS SELECT 1 AS id");
  },
  async between(ground) {
    await ground.sql("INSERT INTO after_promotion VALUES (2)");
  },
  async prove({ sql, details, recovered }) {
    expect(details.timeline).toBe(2);
    expect(recovered.reached.timeline).toBe(3);
    expect(await sql("SELECT sum(id) FROM after_promotion")).toBe("3");
  },
};

export const standby: Variant = {
  name: "a standby as the source",
  source: "standby",
  async prepare(ground) {
    await ground.sql("CREATE TABLE on_primary AS SELECT 1 AS id");
  },
  async between(ground) {
    await ground.sql("INSERT INTO on_primary VALUES (2)");
  },
  async prove({ sql, details }) {
    expect(details.fromStandby).toBe(true);
    expect(await sql("SELECT pg_is_in_recovery()")).toBe("f");
    expect(await sql("SELECT sum(id) FROM on_primary")).toBe("3");
  },
};

export const configOutside: Variant = {
  name: "a configuration outside of the data folder",
  postgres: () => ({ configOutside: true }),
  async prove({ sql, details, files }) {
    const { config_file: config = "", data_directory: data = "" } = details.settings;
    expect(config).not.toBe("");
    expect(config.startsWith(data)).toBe(false);
    expect([...files.keys()].filter((path) => /^(?:postgresql|pg_hba|pg_ident)\.conf$/.test(path))).toEqual(
      [],
    );
    expect(await sql("SHOW config_file")).not.toBe(config);
  },
};

export const preloaded: Variant = {
  name: "shared_preload_libraries and huge_pages=on",
  postgres: () => ({ settings: { shared_preload_libraries: "auto_explain" } }),
  async prepare(ground) {
    // In the backup's files alone: a machine without huge pages cannot start with it.
    await ground.sql("ALTER SYSTEM SET huge_pages = 'on'");
    await ground.sql("ALTER SYSTEM SET shared_preload_libraries = 'auto_explain', 'nowhere'");
  },
  async between(ground) {
    await ground.sql("ALTER SYSTEM RESET ALL");
  },
  async prove({ sql, details, files }) {
    expect(details.settings.shared_preload_libraries).toBe("auto_explain");
    // More than its two lines of comment.
    expect(files.get("postgresql.auto.conf")?.bytes).toBeGreaterThan(120);
    expect(await sql("SHOW shared_preload_libraries")).toBe("");
    expect(await sql("SHOW huge_pages")).toBe("off");
  },
};

/** After {@link preloaded}: it starts the server again. */
export const raisedConnections: Variant = {
  name: "max_connections raised between backup and target",
  postgres: () => ({ settings: { max_connections: 20 } }),
  async prepare(ground) {
    await ground.sql("CREATE TABLE around_raise AS SELECT 1 AS id");
  },
  async between(ground) {
    await ground.server.restart({ max_connections: 150, max_locks_per_transaction: 128 });
    await ground.sql("INSERT INTO around_raise VALUES (2)");
  },
  async prove({ sql, details }) {
    expect(details.settings.max_connections).toBe("20");
    expect(
      await sql(
        "SELECT max_connections >= 20 FROM (SELECT current_setting('max_connections')::int) AS s (max_connections)",
      ),
    ).toBe("t");
    expect(await sql("SELECT sum(id) FROM around_raise")).toBe("3");
  },
};
