import { readTemplate, type TemplatePart } from "./template.ts";

/** Stands for a variable without a default while the literal rest of a template is looked at. No YAML text holds it. */
const HOLE = "\0";

const IN_URI = [
  // userinfo of a URI: everything between the first colon and the last @
  /[a-z][a-z0-9+.-]*:\/\/[^:@/?#\s]*:([^?#\s]*)@/i,
  /[?&](?:ssl)?password=([^&#\s]*)/i,
  // the keyword form of libpq
  /(?:^|\s)(?:ssl)?password\s*=\s*([^\s]*)/i,
];

/** Whether a URI or connection string holds a password in clear text, be it as the default of a variable. */
export function hasLiteralPassword(text: string): boolean {
  const { parts } = readTemplate(text);
  const literal = parts.map((part) => (isVariable(part) ? part.fallback || HOLE : part)).join("");
  const passwords = IN_URI.map((pattern) => pattern.exec(literal)?.[1] ?? "");
  return passwords.some((password) => password.replaceAll(HOLE, "") !== "");
}

/** Whether a text that is a secret as a whole comes from the environment: at least one variable, none with a default. */
export function isFromEnvironment(text: string): boolean {
  const { parts, problem } = readTemplate(text);
  // A malformed template is reported as such.
  if (problem !== undefined) return true;
  return parts.some(isVariable) && parts.every((part) => !isVariable(part) || !part.fallback);
}

function isVariable(part: TemplatePart): part is Exclude<TemplatePart, string> {
  return typeof part !== "string";
}

/** Passwords in a filled URI, as written and decoded: what no log line may show. */
export function passwordsIn(uri: string): string[] {
  const found = IN_URI.flatMap((pattern) => pattern.exec(uri)?.[1] ?? []);
  return [...new Set(found.flatMap((password) => [password, decoded(password)]))].filter((p) => p !== "");
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
