import type { YAMLError, YAMLWarning } from "yaml";

/** What is wrong with the YAML itself. The messages are ours: the parser's quote the file, which may hold a secret. */
export interface SyntaxProblem {
  readonly message: string;
  readonly offset: number;
}

const QUOTE_IT = 'put the value in quotes, such as ">= 1"';
const GENERAL =
  "The YAML can't be read from here: look for wrong indentation, or a missing colon, dash or quote, here or just before.";

const MESSAGES: Partial<Record<YAMLError["code"], string>> = {
  BAD_ALIAS: `The value starts with * or &, which is an anchor in YAML: ${QUOTE_IT}.`,
  BAD_DQ_ESCAPE: "The text in double quotes has a backslash that YAML doesn't know: use single quotes.",
  BAD_INDENT: "The indentation is wrong, or a bracket, brace or quote before it isn't closed.",
  BLOCK_AS_IMPLICIT_KEY: `The line has a second colon, or is indented too far: mend the indentation, or ${QUOTE_IT}.`,
  BLOCK_IN_FLOW: "Inside brackets or braces everything must be in brackets, braces or quotes too.",
  MISSING_CHAR: "Something is missing here: a colon after a key, or what closes a quote, bracket or brace.",
  MULTILINE_IMPLICIT_KEY:
    "A key must be on one line with its colon: look for a missing colon or wrong indentation.",
  MULTIPLE_DOCS: "The file has several YAML documents, but a runbook is one: remove the line ---.",
  NON_STRING_KEY: "A key must be plain text.",
  RESOURCE_EXHAUSTION: "The YAML is nested too deeply.",
  TAB_AS_INDENT: "The line is indented with a tab: use spaces.",
};

/** The error that the others follow from; undefined when the YAML is sound. */
export function syntaxProblem(errors: readonly YAMLError[], text: string): SyntaxProblem | undefined {
  const exhausted = errors.find((error) => error.code === "RESOURCE_EXHAUSTION");
  const first = exhausted ?? errors.reduce<YAMLError | undefined>(earlier, undefined);
  if (first === undefined) return undefined;
  const offset = first.pos[0];
  const sign = text[offset] ?? "";
  if (first.code === "BAD_SCALAR_START") {
    return { message: `A value can't start with ${sign}: ${QUOTE_IT}.`, offset };
  }
  if (first.message.startsWith("Block scalar header")) {
    const start = Math.max(text.lastIndexOf(">", offset), text.lastIndexOf("|", offset), 0);
    const message = `A value that starts with > or | is a block of text in YAML: ${QUOTE_IT}.`;
    return { message, offset: start };
  }
  const tabbed = /^[ ]*\t/.test(text.slice(text.lastIndexOf("\n", offset - 1) + 1));
  const message = tabbed ? MESSAGES.TAB_AS_INDENT : MESSAGES[first.code];
  return { message: message ?? GENERAL, offset };
}

function earlier(first: YAMLError | undefined, error: YAMLError): YAMLError {
  return first === undefined || error.pos[0] < first.pos[0] ? error : first;
}

/** `!= 5` without quotes is a tag in YAML: the text that would be left is not what was meant. */
export function tagProblem(warnings: readonly YAMLWarning[]): SyntaxProblem | undefined {
  const warning = warnings.find(({ code }) => code === "TAG_RESOLVE_FAILED");
  if (warning === undefined) return undefined;
  const message = 'A value that starts with ! is a tag in YAML: put it in quotes, such as "!= 5".';
  return { message, offset: warning.pos[0] };
}
