import { type Answer, boundedLines, type Ground, inEachDatabase } from "./ground.ts";
import { describePackage, WHERE_TO_INSTALL } from "./packages.ts";

const EXPECTED = "every extension of the source installed beside the scratch server";

const EXTENSIONS = `SELECT e.extname, EXISTS (SELECT FROM pg_available_extensions a WHERE a.name = e.extname)
  FROM pg_extension e ORDER BY 1`;

/** The libraries of C functions, and the extension that they belong to. */
const LIBRARIES = `SELECT DISTINCT p.probin, e.extname
  FROM pg_proc p LEFT JOIN pg_depend d
      ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    LEFT JOIN pg_extension e ON e.oid = d.refobjid
  WHERE p.probin IS NOT NULL AND p.prolang = (SELECT oid FROM pg_language WHERE lanname = 'c') ORDER BY 1`;

/** Whether a library's file is where the server looks for it, with the suffix of any platform. */
const HAS_LIBRARY = `SELECT bool_or((pg_stat_file(file || suffix, true)).size IS NOT NULL)
  FROM (SELECT CASE WHEN $1 ~ '^/' THEN $1
      ELSE (SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR') || '/' || regexp_replace($1, '^\\$libdir/', '') END) l (file),
    unnest(ARRAY['', '.so', '.dylib', '.dll']) suffix`;

/** Looks for the control file and the libraries of every extension, without loading any. */
export async function checkExtensions(ground: Ground): Promise<Answer> {
  const { major } = ground;
  let total = 0;
  const missing = new Map<string, Set<string>>();
  await inEachDatabase(ground, async (session, database) => {
    const miss = (what: string) => missing.set(what, (missing.get(what) ?? new Set()).add(database));
    const extensions = await session.query(EXTENSIONS);
    total += extensions.length;
    for (const [name, available] of extensions) {
      if (available !== "t") miss(`extension ${name}${describePackage(name ?? "", major)}`);
    }
    for (const [library, extension] of await session.query(LIBRARIES)) {
      const [row] = await session.query(HAS_LIBRARY, [library ?? ""]);
      if (row?.[0] === "t") continue;
      const owner =
        extension === null ? "" : ` of extension ${extension}${describePackage(extension ?? "", major)}`;
      miss(`library ${library}${owner}`);
    }
    return [];
  });
  const found = [...missing].map(([what, databases]) => `${what}, in ${[...databases].join(", ")}`);
  const lines = boundedLines(found);
  const actual = `checked ${total} of ${total}`;
  if (lines.length === 0) return { status: "passed", expected: EXPECTED, actual };
  return {
    status: "unverified",
    expected: EXPECTED,
    actual: `${actual}; not beside the scratch server: ${lines[0]}${lines.length > 1 ? ` and ${lines.length - 1} more` : ""}: ${WHERE_TO_INSTALL}`,
    lines,
  };
}
