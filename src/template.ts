/** Texts with `${NAME}` and `${NAME:-default}` in them; `$$` is a dollar sign, any other `$` stands for itself. */

/** A variable of a template, or literal text. */
export type TemplatePart = string | { readonly name: string; readonly fallback: string | undefined };

export interface Template {
  readonly parts: readonly TemplatePart[];
  /** What is wrong with it, as the end of a sentence that starts with the key; undefined when it is well-formed. */
  readonly problem: string | undefined;
}

const VARIABLE = /^([A-Za-z_][A-Za-z0-9_]*)(?::-([\s\S]*))?$/;

/** Takes a template apart without looking at any variable. Never throws. */
export function readTemplate(text: string): Template {
  const parts: TemplatePart[] = [];
  let literal = "";
  let at = 0;
  while (at < text.length) {
    if (text.startsWith("$$", at)) {
      literal += "$";
      at += 2;
      continue;
    }
    if (!text.startsWith("${", at)) {
      literal += text[at];
      at += 1;
      continue;
    }
    const end = text.indexOf("}", at);
    const match = end === -1 ? null : VARIABLE.exec(text.slice(at + 2, end));
    const fallback = match?.[2];
    if (match?.[1] === undefined || fallback?.includes("${")) {
      return { parts: [], problem: malformed(text.slice(at)) };
    }
    if (literal !== "") parts.push(literal);
    literal = "";
    parts.push({ name: match[1], fallback });
    at = end + 1;
  }
  if (literal !== "") parts.push(literal);
  return { parts, problem: undefined };
}

function malformed(rest: string): string {
  const allowed = `write \${NAME} or \${NAME:-default}, and $$ for a dollar sign`;
  if (rest.startsWith("${{")) {
    return `has a GitHub expression, which a runbook can't evaluate: ${allowed}, and set NAME in the env of the workflow's step`;
  }
  if (!rest.includes("}")) return `has a \${ that is never closed: ${allowed}`;
  return `has a \${ that names no variable: ${allowed}`;
}

/** Whether the text holds a variable at all. */
export function hasVariable(text: string): boolean {
  return readTemplate(text).parts.some((part) => typeof part !== "string");
}
