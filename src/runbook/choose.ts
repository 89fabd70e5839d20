import { UserError } from "../errors.ts";

/** The components that an input asks for; all when it names none. Throws a UserError for an unknown name. */
export function chooseComponents(known: readonly string[], asked: readonly string[]): readonly string[] {
  const unknown = asked.filter((name) => !known.includes(name));
  if (unknown.length === 0) return asked.length === 0 ? known : [...new Set(asked)];
  throw new UserError(
    `The input components names ${unknown.map((name) => `"${name}"`).join(", ")}, which the runbook does not have; it has ${known.join(", ")}.`,
  );
}
