/** Where progress and warnings go. One call is one line; the implementation escapes workflow commands. */
export interface Logger {
  debug(message: string): void;
  info(message: string): void;
  warning(message: string): void;
}

/** What a short-lived tool answered. */
export interface ToolResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The world around the core: everything it may not know of the runner. */
export interface Context {
  readonly log: Logger;
  /** Aborted by SIGINT, SIGTERM or a time limit. Every stream, socket and child process must end with it. */
  readonly signal: AbortSignal;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** An existing private folder for temporary files; the caller removes it at the end, whatever happened. */
  readonly workDir: string;
  now(): Date;
  /** Registers a secret, so that no log line ever shows it. */
  mask(secret: string): void;
  /** Runs a short-lived tool without a shell and returns its answer, also when it exits with an error code. */
  runTool(command: string, args: readonly string[]): Promise<ToolResult>;
}
