import { describe, expect, test } from "vitest";
import { UserError } from "../../../../src/errors.ts";
import { isDecidedByRecovery } from "../../../../src/postgres/decided-settings.ts";
import { quoteForShell, restoreCommand } from "../../../../src/postgres/recovery/restore-command.ts";
import {
  hbaFile,
  quoteSetting,
  type ServerSettings,
  serverConfiguration,
} from "../../../../src/postgres/scratch/server-settings.ts";

const SETTINGS: ServerSettings = {
  goal: { kind: "time", micros: 1_769_351_400_123_456n, exclusive: false },
  timeline: 3,
  restoreCommand: "/bin/sh '/tmp/it'\\''s' %f \"%p\"",
  hbaFile: "/tmp/hba",
  identFile: "/tmp/ident",
  socketFolder: '/tmp/a, "b',
  port: 5433,
  segmentBytes: 16 * 2 ** 20,
  source: {},
  extra: {},
};

function settingOf(name: string, settings: Partial<ServerSettings> = {}): string | undefined {
  const text = serverConfiguration({ ...SETTINGS, ...settings });
  return new RegExp(`^${name} = '(.*)'$`, "m").exec(text)?.[1];
}

describe("the scratch server's settings", () => {
  test("spell the target as PostgreSQL wants it", () => {
    expect(settingOf("recovery_target_time")).toBe("2026-01-25 14:30:00.123456+00");
    expect(settingOf("recovery_target_timeline")).toBe("3");
    expect(settingOf("recovery_target", { goal: { kind: "immediate" } })).toBe("immediate");
    const goal = { kind: "restore-point", name: "drillbook-1", lsn: 0n, micros: 0n } as const;
    expect(settingOf("recovery_target_name", { goal })).toBe("drillbook-1");
    expect(settingOf("recovery_target_time", { goal })).toBeUndefined();
    expect(settingOf("recovery_target_inclusive")).toBe("on");
  });

  test.each([
    [{ kind: "time", micros: 0n }, "recovery_target_time", "1970-01-01 00:00:00.000000+00"],
    [{ kind: "lsn", lsn: 0x1_0000_00abn }, "recovery_target_lsn", "1/AB"],
    [{ kind: "xid", xid: 7421n }, "recovery_target_xid", "7421"],
  ] as const)("say whether what lies at the target is replayed: %o", (point, name, value) => {
    for (const exclusive of [false, true]) {
      const goal = { ...point, exclusive };
      expect(settingOf(name, { goal })).toBe(value);
      expect(settingOf("recovery_target_inclusive", { goal })).toBe(exclusive ? "off" : "on");
    }
  });

  test("are at least what the source had where WAL depends on it", () => {
    expect(settingOf("max_connections", { source: { max_connections: "400" } })).toBe("400");
    expect(settingOf("max_connections", { source: { max_connections: "20" } })).toBe("100");
    expect(settingOf("max_locks_per_transaction", { source: { max_locks_per_transaction: "rubbish" } })).toBe(
      "64",
    );
  });

  test("survive quotes, backslashes and commas", () => {
    expect(quoteSetting("a'b\\c")).toBe("'a''b\\\\c'");
    expect(() => quoteSetting("a\nb")).toThrow(UserError);
    expect(settingOf("restore_command")).toBe("/bin/sh ''/tmp/it''\\\\''''s'' %f \"%p\"");
    expect(settingOf("unix_socket_directories")).toBe('"/tmp/a, ""b"');
  });

  test("take those of the runbook, but none that would make a recovery prove nothing", () => {
    expect(serverConfiguration({ ...SETTINGS, extra: { shared_buffers: "1GB" } })).toContain(
      "shared_buffers = '1GB'",
    );
    for (const name of ["work_mem", "timescaledb.license", "port_x"]) {
      expect(isDecidedByRecovery(name)).toBe(false);
    }
    for (const name of [
      "Archive_Mode",
      "recovery_target_time",
      "hot_standby",
      "port",
      "zero_damaged_pages",
    ]) {
      expect(isDecidedByRecovery(name)).toBe(true);
    }
  });

  test("let one role in over TCP, with a password", () => {
    expect(hbaFile("r")).toBe('local all all trust\nhost all "r" 127.0.0.1/32 scram-sha-256\n');
  });
});

test("a word for the shell is quoted, and a percent sign is doubled for PostgreSQL", () => {
  expect(quoteForShell("/tmp/it's $(x) `y`")).toBe("'/tmp/it'\\''s $(x) `y`'");
  expect(restoreCommand("/tmp/100%/s.sh")).toBe("/bin/sh '/tmp/100%%/s.sh' %f \"%p\"");
});
