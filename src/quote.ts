const LONGEST = 60;
const SECRET = /AGE-(?:SECRET-KEY|PLUGIN)-|PRIVATE KEY|:\/\/[^/\s]*@|password/i;

/** A value as a message shows it: in quotes, on one line, short, and never when it may be a secret. */
export function quote(value: unknown): string {
  if (value === null || value === undefined) return "empty";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a map";
  if (typeof value === "number") return Number.isFinite(value) ? `the number ${value}` : "no finite number";
  if (typeof value === "boolean") return `the boolean ${value}`;
  const text = String(value);
  if (SECRET.test(text)) return "this value";
  return JSON.stringify(text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text);
}

/** `a, b or c`. */
export function orList(words: readonly string[]): string {
  if (words.length < 2) return words[0] ?? "";
  return `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}
