/** Where in a file of the user something is wrong. Lines and columns count from 1. */
export interface SourceLocation {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** One thing that is wrong, and where. A file can have many. */
export interface Problem {
  readonly message: string;
  readonly location?: SourceLocation | undefined;
}

interface ProblemOptions {
  readonly location?: SourceLocation | undefined;
  readonly cause?: unknown;
}

/** Something the user wrote or asked for is wrong. The message is one sentence that says what to do. */
export class UserError extends Error {
  readonly location: SourceLocation | undefined;
  /** Everything that is wrong at once; this error itself when it is one thing. */
  readonly problems: readonly Problem[];

  constructor(message: string, options: ProblemOptions & { problems?: readonly Problem[] } = {}) {
    super(message, { cause: options.cause });
    this.name = "UserError";
    this.location = options.location;
    this.problems = options.problems ?? [this];
  }
}

/** A tool, a server, a disk or a network refused or failed. The message is one sentence that says what to do. */
export class ToolError extends Error {
  constructor(message: string, options: ProblemOptions = {}) {
    super(message, { cause: options.cause });
    this.name = "ToolError";
  }
}

/**
 * What lies in the store is proven not to be recoverable: an object is absent, altered, truncated, from another
 * cluster or sealed with another key, or PostgreSQL could not replay it. A drill that meets it is `failed`;
 * any other error leaves it `unverified`.
 */
export class DefectError extends Error {
  /** The object, as {@link Store.describe} names it. */
  readonly subject: string;

  constructor(subject: string, message: string, options: ProblemOptions = {}) {
    super(message, { cause: options.cause });
    this.name = "DefectError";
    this.subject = subject;
  }
}

/** The work was stopped from outside (SIGINT, SIGTERM, a time limit). */
export class AbortedError extends Error {
  constructor(message = "Stopped before the work was done.") {
    super(message);
    this.name = "AbortedError";
  }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a Node.js or PostgreSQL error (`ENOSPC`, `28P01`), if it has one. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
