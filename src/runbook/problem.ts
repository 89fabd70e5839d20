import { type Problem, type SourceLocation, UserError } from "../errors.ts";
import { quote } from "../quote.ts";

/** Where a value stands: map keys and list indexes from the top. */
export type Path = readonly (string | number)[];

/** Something wrong in a runbook. */
export interface RunbookProblem extends Problem {
  /** One sentence that names file, line and key, what is wrong and what is allowed. Never holds a secret. */
  readonly message: string;
  readonly location: SourceLocation;
  readonly path: Path;
  /** The path as people write it, such as `components.db.checks[0].expect`; empty for the file as a whole. */
  readonly key: string;
}

/** A runbook that can't be used. The message holds every problem, one a line, in the order of the file. */
export class RunbookError extends UserError {
  declare readonly problems: readonly RunbookProblem[];

  constructor(problems: readonly RunbookProblem[]) {
    const sorted = [...problems].sort(byPosition);
    const message = sorted.map((problem) => problem.message).join("\n");
    super(message, { location: sorted[0]?.location, problems: sorted });
    this.name = "RunbookError";
  }
}

function byPosition(a: RunbookProblem, b: RunbookProblem): number {
  return a.location.line - b.location.line || a.location.column - b.location.column;
}

/** `components.db.checks[0].expect`; keys that are no plain word are quoted. */
export function displayPath(path: Path): string {
  return path
    .map((part, index) => {
      if (typeof part === "number") return `[${part}]`;
      if (!/^[\w-]{1,80}$/.test(part)) return `[${quote(part)}]`;
      return index === 0 ? part : `.${part}`;
    })
    .join("");
}

/** A problem of one key: `clause` is the rest of the sentence, such as `must not be empty`. */
export function problemAt(path: Path, clause: string, location: SourceLocation): RunbookProblem {
  const key = displayPath(path);
  return { ...problemIn(`${key === "" ? "the runbook" : key} ${clause}`, location), path, key };
}

/** A problem that belongs to no key. */
export function problemIn(sentence: string, location: SourceLocation): RunbookProblem {
  const end = /[.!?]$/.test(sentence) ? "" : ".";
  return { message: `${location.file}:${location.line}: ${sentence}${end}`, location, path: [], key: "" };
}
