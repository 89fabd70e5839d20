import { setSecret } from "@actions/core";
import { passwordsIn } from "../secrets.ts";

const MASK = "***";

/**
 * The secrets of this run. The runner masks the log; reports, summaries and outputs are not its business, and a
 * bundle may be started elsewhere: so every text that leaves goes through {@link Secrets.redact}.
 */
export interface Secrets {
  add(secret: string): void;
  redact(text: string): string;
}

export function createSecrets(onRunner: boolean): Secrets {
  const known = new Set<string>();

  function remember(secret: string): void {
    // A value of one or two characters would tear holes into every line and protect nothing.
    if (secret.length < 3 || known.has(secret)) return;
    known.add(secret);
    // Outside of a runner nobody takes this command out of the log, so it would show what it should hide.
    if (onRunner) setSecret(secret);
  }

  return {
    add(secret) {
      const lines = secret.split(/\r?\n/).map((line) => line.trim());
      for (const part of [secret, ...lines, encodeURIComponent(secret)]) remember(part);
    },
    redact(text) {
      let clean = text;
      // The longest first: a password may be part of a connection string.
      for (const secret of [...known].sort((a, b) => b.length - a.length)) {
        clean = clean.replaceAll(secret, MASK);
      }
      return clean;
    },
  };
}

const SECRET_NAME =
  /(?:^|_|PG)(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIALS?|IDENTITY|(?:API|ACCESS|PRIVATE|ROUTING|MASTER|SECRET)_KEY)$/i;
/** A name only hints at a secret, so short values, such as `true`, are left alone. */
const SHORTEST_BY_NAME = 8;

/**
 * Secrets that the environment holds whether or not we use them: values of variables that are named like one, and
 * passwords in connection strings. A command of a drill has the same environment and may print it, and what it prints
 * goes into records that outlive the job.
 */
export function secretsIn(env: Readonly<Record<string, string | undefined>>): string[] {
  return Object.entries(env).flatMap(([name, value = ""]) => {
    const whole = SECRET_NAME.test(name) && value.length >= SHORTEST_BY_NAME ? [value] : [];
    return [...whole, ...(value.includes("://") ? passwordsIn(value) : [])];
  });
}
