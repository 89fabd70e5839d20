import type { Heartbeat } from "../../catalog/heartbeat.ts";
import type { ComponentSetting, VerifyRequest } from "../../component.ts";
import type { Context } from "../../context.ts";
import type { Finding, FindingCode } from "../../finding.ts";
import type { PostgresConfig } from "../config.ts";

/** What a verification works on, and where its parts put what they find. */
export interface Subject {
  readonly setting: ComponentSetting<PostgresConfig>;
  readonly request: VerifyRequest;
  readonly context: Context;
  readonly findings: Findings;
  /** Read before anything is listed: what it names must be there. */
  readonly heartbeat: Heartbeat | undefined;
}

/** Collects findings; more than {@link MOST_OF_A_CODE} of one code are only counted. */
export interface Findings {
  error(code: FindingCode, subject: string, message: string, remedy: string): void;
  warn(code: FindingCode, subject: string, message: string, remedy: string): void;
  /** Says what was not looked at, although nothing is wrong with that. */
  skip(sentence: string): void;
  has(code: FindingCode): boolean;
  /** How many errors there are so far, shown or only counted. */
  errors(): number;
  all(): Finding[];
  skipped(): readonly string[];
}

const MOST_OF_A_CODE = 50;

export function collectFindings(component: string): Findings {
  const found: Finding[] = [];
  const counts = new Map<FindingCode, number>();
  const skipped: string[] = [];
  let errors = 0;

  function add(finding: Omit<Finding, "component">): void {
    const count = (counts.get(finding.code) ?? 0) + 1;
    counts.set(finding.code, count);
    if (finding.severity === "error") errors += 1;
    if (count <= MOST_OF_A_CODE) found.push({ ...finding, component });
  }

  return {
    error: (code, subject, message, remedy) => add({ code, severity: "error", subject, message, remedy }),
    warn: (code, subject, message, remedy) => add({ code, severity: "warning", subject, message, remedy }),
    skip: (sentence) => void skipped.push(sentence),
    has: (code) => counts.has(code),
    errors: () => errors,
    all() {
      const more = [...counts].filter(([, count]) => count > MOST_OF_A_CODE);
      const rest = more.map(([code, count]): Finding => {
        const like = found.findLast((finding) => finding.code === code);
        const message = `${count - MOST_OF_A_CODE} more findings of the code ${code} are not listed.`;
        const remedy = "Mend those that are listed, and verify again.";
        return { code, severity: like?.severity ?? "error", component, subject: component, message, remedy };
      });
      return [...found, ...rest];
    },
    skipped: () => skipped,
  };
}

/** Remedies that more than one finding has. */
export const NEW_BACKUP = "Take a new backup, and find out what changed or removed the object.";
