import { readFileSync, statSync } from "node:fs";
import { codeOf, type SourceLocation } from "../errors.ts";
import { formatBytes } from "../values.ts";
import { problemsOf } from "./issues.ts";
import { runbookJsonSchema } from "./json-schema.ts";
import { type Path, problemAt, RunbookError, type RunbookProblem } from "./problem.ts";
import { privateKeyProblems, proofProblems, referenceProblems } from "./rules.ts";
import { type RunbookConfig, runbookConfig } from "./schema.ts";
import { readSource } from "./source.ts";

const MAX_BYTES = 1024 * 1024;

/** A runbook that was read and found sound. */
export interface Runbook {
  readonly config: RunbookConfig;
  /** As the user named it. */
  readonly file: string;
  /** Where a value stands: the nearest existing ancestor if it is absent, as a default is. */
  locate(path: Path): SourceLocation;
}

/** Reads a runbook. Throws a {@link RunbookError} with everything that is wrong in it. No variable is looked at. */
export function loadRunbook(file: string): Runbook {
  return parseRunbook(readText(file), file);
}

/** Reads the text of a runbook; `file` is its name in messages. Throws a {@link RunbookError}. */
export function parseRunbook(text: string, file: string): Runbook {
  const source = readSource(text, file);
  const keys = privateKeyProblems(text, file);
  const problems: RunbookProblem[] = [...source.problems];
  if (source.fatal) throw new RunbookError([...problems, ...keys]);

  const { value } = source;
  const top = source.locate([]);
  if (value === null || value === undefined) {
    throw new RunbookError([...problems, ...keys, problemAt([], "is empty: start with version: 1", top)]);
  }
  if (typeof value !== "object" || Array.isArray(value)) {
    const clause = "must be a map of keys such as version, service, stores and components";
    throw new RunbookError([...problems, ...keys, problemAt([], clause, top)]);
  }

  const parsed = runbookConfig.safeParse(value);
  if (!parsed.success) problems.push(...problemsOf(parsed.error.issues, source, runbookJsonSchema()));
  problems.push(...referenceProblems(source));
  // Where the key is a value, its own problem says more.
  problems.push(
    ...keys.filter((key) => !problems.some((problem) => problem.location.line === key.location.line)),
  );
  if (parsed.success && problems.length === 0) problems.push(...proofProblems(parsed.data, source));
  if (!parsed.success || problems.length > 0) throw new RunbookError(problems);
  return { config: parsed.data, file, locate: source.locate };
}

function readText(file: string): string {
  const fail = (message: string): never => {
    throw new RunbookError([{ message, location: { file, line: 1, column: 1 }, path: [], key: "" }]);
  };
  let bytes: Buffer;
  try {
    const stats = statSync(file);
    if (stats.isDirectory()) return fail(`The runbook ${file} is a folder: name the file in it.`);
    if (!stats.isFile()) return fail(`The runbook ${file} is no regular file.`);
    if (stats.size > MAX_BYTES) {
      return fail(
        `The runbook ${file} has ${formatBytes(stats.size)}: ${formatBytes(MAX_BYTES)} is the limit.`,
      );
    }
    bytes = readFileSync(file);
  } catch (error) {
    if (error instanceof RunbookError) throw error;
    const code = codeOf(error);
    const absent = code === "ENOENT" || code === "ENOTDIR";
    return fail(
      absent
        ? `The runbook ${file} does not exist: create it, or name another one in the input "runbook".`
        : `The runbook ${file} can't be read (${code ?? "unknown error"}): look at its permissions and its name.`,
    );
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return fail(`The runbook ${file} is not UTF-8 text: save it in that encoding.`);
  }
}
