import { codeOf, ToolError } from "../../errors.ts";
import type { Session } from "../checks/session.ts";
import { describePackage, WHERE_TO_INSTALL } from "./packages.ts";

/** Where our own copies of extensions are put; nothing of the source is in it. */
const SCHEMA = "drillbook_integrity";

/** An extension that a check needs, in one database of the scratch server. */
export interface Borrowed {
  /** The schema of its functions, quoted. */
  readonly schema: string;
  readonly version: number;
  /** Takes it away again, if it was not there before. */
  giveBack(): Promise<void>;
}

/** Creates the extension on the scratch server where it is absent. Throws a ToolError when the server has it not. */
export async function borrowExtension(session: Session, name: string, major: number): Promise<Borrowed> {
  const present = await find(session, name);
  if (present !== undefined) {
    // An old installation in the source may lack a function. This is a copy.
    await session.query(`ALTER EXTENSION ${name} UPDATE`);
    const updated = (await find(session, name)) ?? present;
    return { ...updated, giveBack: async () => undefined };
  }
  try {
    await session.query(`CREATE SCHEMA IF NOT EXISTS ${SCHEMA}`);
    await session.query(`CREATE EXTENSION ${name} SCHEMA ${SCHEMA}`);
  } catch (error) {
    // 0A000: no control file; 58P01: no script or library.
    if (codeOf(error) !== "0A000" && codeOf(error) !== "58P01") throw error;
    throw new ToolError(
      `the scratch server has no extension ${name}${describePackage(name, major)}: ${WHERE_TO_INSTALL}`,
      { cause: error },
    );
  }
  const created = await find(session, name);
  if (created === undefined) throw new Error(`CREATE EXTENSION ${name} left no extension`);
  return {
    ...created,
    async giveBack() {
      await session.query(`DROP EXTENSION IF EXISTS ${name}`);
      await session.query(`DROP SCHEMA IF EXISTS ${SCHEMA}`);
    },
  };
}

async function find(
  session: Session,
  name: string,
): Promise<Pick<Borrowed, "schema" | "version"> | undefined> {
  const [row] = await session.query(
    `SELECT quote_ident(n.nspname), e.extversion
     FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = $1`,
    [name],
  );
  return row === undefined ? undefined : { schema: row[0] ?? "", version: Number(row[1]) };
}
