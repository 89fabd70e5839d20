import { randomBytes } from "node:crypto";
import type { Context } from "../../context.ts";
import type { Session } from "../checks/session.ts";

/** The login of `run` steps: a superuser that exists on the scratch server alone. */
export interface TemporaryRole {
  readonly name: string;
  readonly password: string;
}

/** A new name, so that it cannot be that of a role in the backup; the password is masked at once. */
export function makeTemporaryRole(context: Context): TemporaryRole {
  const role = {
    name: `drillbook_${randomBytes(6).toString("hex")}`,
    password: randomBytes(24).toString("hex"),
  };
  context.mask(role.password);
  return role;
}

/** Name and password are hexadecimal, so they need no quoting; the server logs no statements. */
export async function createTemporaryRole(session: Session, role: TemporaryRole): Promise<void> {
  await session.query(`CREATE ROLE ${role.name} SUPERUSER LOGIN PASSWORD '${role.password}'`);
}

/** What `run` steps get as `DRILLBOOK_<COMPONENT>_URL` and so on. */
export function accessOf(role: TemporaryRole, port: number, database: string): Record<string, string> {
  const host = "127.0.0.1";
  return {
    url: `postgresql://${role.name}:${role.password}@${host}:${port}/${encodeURIComponent(database)}`,
    host,
    port: String(port),
    user: role.name,
    password: role.password,
    database,
  };
}
