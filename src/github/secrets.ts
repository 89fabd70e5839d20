import { setSecret } from "@actions/core";

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
