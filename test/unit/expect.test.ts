import { describe, expect, test } from "vitest";
import { UserError } from "../../src/errors.ts";
import { cannotFail, meets, parseExpectation } from "../../src/expect.ts";

const met = (expectation: string, actual: string) => meets(parseExpectation(expectation), actual);

describe("an expectation", () => {
  test.each([
    ["= 42", { operator: "=", operand: "42", numeric: true }],
    [">=1", { operator: ">=", operand: "1", numeric: true }],
    ["  <  -1.5e3 ", { operator: "<", operand: "-1.5e3", numeric: true }],
    ["!= draft", { operator: "!=", operand: "draft", numeric: false }],
    ['= "42"', { operator: "=", operand: "42", numeric: false }],
    ["= ''", { operator: "=", operand: "", numeric: false }],
    ["= two words", { operator: "=", operand: "two words", numeric: false }],
    ["~ ^v\\d+$", { operator: "~", operand: "^v\\d+$", numeric: false }],
    ["~ =", { operator: "~", operand: "=", numeric: false }],
  ])("%s is read", (text, expected) => {
    expect(parseExpectation(text)).toEqual({ text, ...expected });
  });

  test.each([
    ["42", /no operator in "42".*= != < <= > >=/],
    ["", /no operator/],
    ["is 5", /no operator/],
    [">=", /nothing after >=/],
    ["~", /nothing after ~/],
    ["== 5", /unknown operator/],
    ["=> 5", /unknown operator/],
    ["<> 5", /unknown operator/],
    [">>= 5", /unknown operator/],
    ["~ (a", /no regular expression: "\(a"/],
    ["~ \\p{Nope}", /no regular expression/],
  ])("%s is refused with what is allowed", (text, message) => {
    expect(() => parseExpectation(text)).toThrow(UserError);
    expect(() => parseExpectation(text)).toThrow(message);
  });
});

describe("a number", () => {
  test.each([
    ["= 42", "42", true],
    ["= 42", "42.000", true],
    ["= 42", "+42", true],
    ["= 1000", "1e+3", true],
    ["= 0", "-0.0", true],
    ["= 42", "43", false],
    ["!= 42", "43", true],
    ["!= 42", "42.0", false],
    ["< 1.5", "1.49", true],
    ["< 1.5", "1.5", false],
    ["<= 1.5", "1.50", true],
    ["> -1", "0", true],
    ["> 10", "9", false],
    [">= 10", "10", true],
    [">= 10", "9.999999999999999999999", false],
    ["< 0.1", "1e-400", true],
  ])("%s and %s: %s", (expectation, actual, expected) => {
    expect(met(expectation, actual)).toBe(expected);
  });

  test("keeps every digit, where floating point would not", () => {
    expect(met("= 9007199254740993", "9007199254740992")).toBe(false);
    expect(met("> 9007199254740992", "9007199254740993")).toBe(true);
    expect(met("= 0.1", "0.1000000000000000055511151231257827")).toBe(false);
    expect(met("< 100000000000000000000000000000001", "100000000000000000000000000000000")).toBe(true);
  });

  test.each(["abc", "", " 42", "42 rows", "NaN", "Infinity", "0x2a", "1e99999", "t"])(
    "is not met by the text %j, whatever the operator",
    (actual) => {
      for (const operator of ["=", "!=", "<", "<=", ">", ">="])
        expect(met(`${operator} 42`, actual)).toBe(false);
    },
  );
});

describe("a text", () => {
  test.each([
    ["= paid", "paid", true],
    ["= paid", "Paid", false],
    ["!= paid", "open", true],
    ["!= paid", "paid", false],
    [">= 2026-01-25", "2026-01-26 10:00:00+00", true],
    ["< 2026-01-25", "2026-01-26", false],
    ['= "42"', "42", true],
    ['= "42"', "42.0", false],
    ["= ''", "", true],
    ["= true", "t", true],
    ["= false", "t", false],
    ["!= true", "f", true],
    ["~ ^v\\d+$", "v18", true],
    ["~ ^v\\d+$", "x18", false],
    ["~ orders", "all orders here", true],
    ["~ ^.$", "😀", true],
  ])("%s and %s: %s", (expectation, actual, expected) => {
    expect(met(expectation, actual)).toBe(expected);
  });
});

describe("an expectation that cannot fail", () => {
  const COUNT = "SELECT count(*) FROM orders";
  const VALUE = "SELECT status FROM orders LIMIT 1";

  test.each([
    ">= 0",
    "> -1",
    ">= -5",
    "!= -1",
    "!= 1.5",
    "!= x",
    "< x",
    "~ \\d",
    "~ .",
    "~ ^\\d+$",
    "<= 9223372036854775807",
  ])("%s on a count is seen", (text) => expect(cannotFail(parseExpectation(text), COUNT)).toBe(true));

  test.each(['~ ""', "~ .*", "~ ^", "~ $", "~ ^[\\s\\S]*$", "~ x*", "~ (a|)", '>= ""'])(
    "%s on anything is seen",
    (text) => {
      expect(cannotFail(parseExpectation(text), VALUE)).toBe(true);
      expect(cannotFail(parseExpectation(text), COUNT)).toBe(true);
      expect(cannotFail(parseExpectation(text))).toBe(true);
    },
  );

  test.each([">= 1", "> 0", "= 0", "!= 0", "!= 5", "!= 1e3", "< 100", "<= 3", "~ ^[1-9]", "= x"])(
    "%s on a count is honest",
    (text) => expect(cannotFail(parseExpectation(text), COUNT)).toBe(false),
  );

  test.each([
    ">= 0",
    "> -1",
    "!= x",
    "!= 5",
    "~ .",
    "~ ^\\d+$",
    "= t",
    "~ ^(?!ERROR)",
    "~ ^.{0,80}$",
    "~ ^[^!]*$",
  ])("%s on a value is honest", (text) => expect(cannotFail(parseExpectation(text), VALUE)).toBe(false));
});

test("megabytes of digits are no number that anybody could compare", () => {
  expect(met(">= 1", "9".repeat(120_000))).toBe(true);
  expect(met(">= 1", "9".repeat(50_000_000))).toBe(false);
});
