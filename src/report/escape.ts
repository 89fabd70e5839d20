/**
 * The one place where text becomes Markdown, HTML or a chart label. Names of tables, answers of databases and lines of
 * tools are hostile until they went through here: they may hold `|`, tags, backticks, `@mentions`, `#123`, workflow
 * commands, right-to-left marks, or megabytes.
 */

const LONGEST = 2_000;
/** Breaks a token for GitHub's autolinks and is invisible to people. */
const BREAK = "&#8203;";
const PLAIN = /^[ -~]*$/;
const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "\\": "&#92;",
  "|": "&#124;",
};
/** Beginnings of what GitHub links by itself. */
const AUTOLINKS = /\b(?:GH-(?=\d)|(?:https?|ftp|mailto|xmpp):|www(?=\.))/gi;
/** Nothing in it means anything to Markdown, wherever it stands. */
const HARMLESS = /^[A-Za-z0-9](?:[A-Za-z0-9 ,/()%-]|[.](?! ))*$/;

/**
 * One line of visible text: control characters, line and paragraph separators become spaces; invisible characters
 * and those that turn the reading direction are taken out; what is too long is cut and ends in `…`.
 */
export function oneLine(text: string, longest = LONGEST): string {
  // Cut before the costly work: a value may have megabytes. Twice as much, so that what is taken out does not count.
  const start = text.slice(0, longest * 2 + 64);
  const clean = PLAIN.test(start)
    ? start.trim()
    : start
        .replaceAll(/[\s\p{Cc}\p{Zl}\p{Zp}]+/gu, " ")
        .replaceAll(/[\p{Cf}\p{Co}\p{Cs}\p{Cn}]/gu, "")
        .trim();
  if (clean.length <= longest && start.length === text.length) return clean;
  const shown = [...clean];
  const whole = shown.length <= longest && start.length === text.length;
  return whole ? clean : `${shown.slice(0, longest - 1).join("")}…`;
}

/**
 * Text as it is, for a table cell, a list item or a paragraph of GitHub's Markdown: no structure, no HTML, no link,
 * mention, reference, emoji or formula comes out of it.
 */
export function markdown(text: string, longest = LONGEST): string {
  return escapeLine(oneLine(text, longest));
}

function escapeLine(line: string): string {
  if (HARMLESS.test(line)) return line.replaceAll(AUTOLINKS, `$&${BREAK}`);
  return line
    .replaceAll(/[&<>\\|]/g, (char) => ENTITIES[char] ?? char)
    .replaceAll(/[`*~[\]$]|(?<![\p{L}\p{N}])_|_(?![\p{L}\p{N}])/gu, "\\$&")
    .replaceAll("@", `@${BREAK}`)
    .replaceAll(/(?<!&)#(?=\d)/g, `#${BREAK}`)
    .replaceAll(AUTOLINKS, `$&${BREAK}`)
    .replaceAll("::", `:${BREAK}:`)
    .replaceAll(/:(?=[+-]?[a-z][\w+-]*:)/gi, `:${BREAK}`)
    .replace(/^(?:[-+=#:]|\d+(?=[.)](?: |$)))/, (start) =>
      /\d/.test(start) ? `${start}${BREAK}` : `\\${start}`,
    );
}

/** A value in the type of code, in a table cell or elsewhere. Empty text is shown as such. */
export function code(text: string, longest = LONGEST): string {
  const shown = oneLine(text, longest);
  if (shown === "") return "*empty*";
  // A code span is what people like to read, but only text without its own delimiters fits into one.
  if (!/[`<|\\]/.test(shown)) return `\`${shown}\``;
  return `<code>${escapeLine(shown)}</code>`;
}

/** A link to an address that the runner or the runbook gave; text alone when it is no web address. */
export function link(label: string, url: string): string {
  const address = URL.canParse(url) ? new URL(url) : undefined;
  if (address === undefined || !/^https?:$/.test(address.protocol)) return markdown(label);
  const target = address.href.replaceAll(/[()<>[\]|\\`*_~$]/g, (char) => `%${hex(char)}`);
  return `[${markdown(label)}](${target})`;
}

function hex(char: string): string {
  return char.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0");
}

/** A label of a Mermaid chart: only letters, digits and harmless signs, short. Mermaid has no escape for the rest. */
export function chartLabel(text: string, longest = 40): string {
  const clean = oneLine(text, longest * 4)
    .normalize("NFC")
    .replaceAll(/[^\p{L}\p{N} ._()/-]/gu, " ")
    .replaceAll(/ +/g, " ")
    .trim();
  return oneLine(clean === "" ? "unnamed" : clean, longest);
}
