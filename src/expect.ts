import { UserError } from "./errors.ts";
import { quote } from "./quote.ts";
import { isCountQuery } from "./sql.ts";

/*
 * What a check expects of a single value: `= 42`, `!= draft`, `< 1.5`, `>= 1`, `~ ^v\d+$`. Numbers are compared as
 * exact decimals, so 9007199254740993 is not 9007199254740992; text is compared by code unit.
 */

type Operator = "=" | "!=" | "<" | "<=" | ">" | ">=" | "~";

export interface Expectation {
  /** As it stands in the runbook. */
  readonly text: string;
  readonly operator: Operator;
  /** Without its quotes, when it had some. */
  readonly operand: string;
  /** Whether the operand is a number, so that only a number can meet it. */
  readonly numeric: boolean;
}

const ALLOWED = 'write one of = != < <= > >= with a number or text, or ~ with a pattern, such as ">= 1"';

/** Reads an expectation; throws a UserError whose message is the end of a sentence that starts with its key. */
export function parseExpectation(text: string): Expectation {
  const match = /^(>=|<=|!=|=|<|>|~)\s*([\s\S]*)$/.exec(text.trim());
  if (match === null) throw new UserError(`has no operator in ${quote(text)}: ${ALLOWED}`);
  const operator = match[1] as Operator;
  const written = match[2] ?? "";
  const quoted = /^(["'])([\s\S]*)\1$/.exec(written);
  const operand = quoted?.[2] ?? written;
  if (written === "") {
    throw new UserError(`has nothing after ${operator}: ${ALLOWED}; the empty text is ""`);
  }
  if (operator === "~") {
    checkPattern(operand);
    return { text, operator, operand, numeric: false };
  }
  if (quoted === null && /^[=<>!~]/.test(operand)) {
    throw new UserError(`has an unknown operator in ${quote(text)}: ${ALLOWED}`);
  }
  return { text, operator, operand, numeric: quoted === null && parseDecimal(operand) !== undefined };
}

function checkPattern(pattern: string): void {
  try {
    new RegExp(pattern, "u");
  } catch (cause) {
    throw new UserError(`has a pattern that is no regular expression: ${quote(pattern)}`, { cause });
  }
}

/**
 * Whether a value meets the expectation. A number is met by numbers only, also by `!=`. `true` and `false` are met by
 * PostgreSQL's `t` and `f`.
 */
export function meets(expectation: Expectation, actual: string): boolean {
  const { operator, operand } = expectation;
  if (operator === "~") return new RegExp(operand, "u").test(actual);
  const order = expectation.numeric ? compareNumbers(actual, operand) : compareTexts(actual, operand);
  if (order === undefined) return false;
  if (operator === "=") return order === 0;
  if (operator === "!=") return order !== 0;
  if (operator === "<") return order < 0;
  if (operator === "<=") return order <= 0;
  if (operator === ">") return order > 0;
  return order >= 0;
}

const BOOLEANS: Readonly<Record<string, string>> = { t: "true", f: "false" };

function compareTexts(actual: string, expected: string): number {
  const isBoolean = expected === "true" || expected === "false";
  const spelled = isBoolean ? (BOOLEANS[actual] ?? actual) : actual;
  if (spelled === expected) return 0;
  return spelled < expected ? -1 : 1;
}

/** `digits` × 10^-`scale`. */
interface Decimal {
  readonly digits: bigint;
  readonly scale: number;
}

/** PostgreSQL's numeric has at most 131,072 digits before and 16,383 after the point; beyond that it is text. */
const MAX_EXPONENT = 16_383;
const LONGEST_NUMBER = 150_000;

function parseDecimal(text: string): Decimal | undefined {
  // Making a number of megabytes of digits takes hours, in which not even a signal is heard.
  if (text.length > LONGEST_NUMBER) return undefined;
  const match = /^([+-]?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text);
  if (match === null) return undefined;
  const [, sign, whole = "", fraction = "", exponent = "0"] = match;
  if (Math.abs(Number(exponent)) > MAX_EXPONENT) return undefined;
  const digits = BigInt(whole + fraction);
  return { digits: sign === "-" ? -digits : digits, scale: fraction.length - Number(exponent) };
}

function compareNumbers(actual: string, expected: string): number | undefined {
  const left = parseDecimal(actual);
  const right = parseDecimal(expected);
  if (left === undefined || right === undefined) return undefined;
  const scale = Math.max(left.scale, right.scale);
  const difference =
    left.digits * 10n ** BigInt(scale - left.scale) - right.digits * 10n ** BigInt(scale - right.scale);
  if (difference === 0n) return 0;
  return difference < 0n ? -1 : 1;
}

/** What to say of it: the end of a sentence that starts with the key. */
export const CANNOT_FAIL =
  "can't fail, because every answer meets it: expect something that only sound data meets";

const PRINTABLE = String.fromCharCode(...Array.from({ length: 95 }, (_, index) => 32 + index));
const VALUES = [
  "",
  "0",
  "-1",
  "x",
  " ",
  "\n",
  "true",
  "1.5",
  "2026-01-25 14:30:00+00",
  "ä",
  PRINTABLE.repeat(4),
];
const COUNTS = [
  ...Array.from({ length: 12 }, (_, count) => String(count)),
  "42",
  "77",
  "1000",
  "9007199254740993",
  "9223372036854775807",
];

/**
 * Whether the expectation is met whatever the database holds: `~ .*` on anything, `>= 0` or `!= x` on a count. A check
 * like that proves nothing. It is judged by trying values, so a strange pattern may pass for an honest one.
 */
export function cannotFail(expectation: Expectation, query = ""): boolean {
  const { operator, operand } = expectation;
  // "does not hold …" is a promise that no list of samples can refute.
  if (operator === "~" && /\(\?<?!/.test(operand)) return false;
  if (!isCountQuery(query)) return [...VALUES, operand].every((value) => meets(expectation, value));
  const itself = expectation.numeric ? Number(operand) : Number.NaN;
  const counts = Number.isSafeInteger(itself) && itself >= 0 ? [...COUNTS, String(itself)] : COUNTS;
  return counts.every((value) => meets(expectation, value));
}
