import { getInput } from "@actions/core";
import { UserError } from "../errors.ts";
import { parseDuration } from "../values.ts";

/**
 * Reads one input. `fallback` equals the default in action.yml, so that a bundle behaves the same when something
 * other than a runner starts it. `parse` throws a RangeError whose message says what is allowed.
 */
export interface InputReader<T> {
  readonly fallback: string;
  parse(raw: string): T;
}

export type InputReaders = Readonly<Record<string, InputReader<unknown>>>;

export type InputValues<R extends InputReaders> = {
  readonly [Name in keyof R]: R[Name] extends InputReader<infer T> ? T : never;
};

/** Free text; undefined when it is empty. */
export function optionalText(): InputReader<string | undefined> {
  return { fallback: "", parse: (raw) => (raw === "" ? undefined : raw) };
}

/** Free text that always has a value. */
export function text(fallback: string): InputReader<string> {
  return { fallback, parse: (raw) => raw };
}

/** A list, split on commas and newlines; empty items are dropped. */
export function list(fallback = ""): InputReader<string[]> {
  return {
    fallback,
    parse: (raw) =>
      raw
        .split(/[,\n]/)
        .map((item) => item.trim())
        .filter((item) => item !== ""),
  };
}

export function flag(fallback: boolean): InputReader<boolean> {
  return {
    fallback: String(fallback),
    parse(raw) {
      if (/^true$/i.test(raw)) return true;
      if (/^false$/i.test(raw)) return false;
      throw new RangeError("use true or false");
    },
  };
}

/** True or false in any case, or one of some other words. */
export function flagOr<const T extends string>(
  fallback: boolean,
  ...others: readonly T[]
): InputReader<T | "true" | "false"> {
  return {
    fallback: String(fallback),
    parse(raw) {
      if (/^true$/i.test(raw)) return "true";
      if (/^false$/i.test(raw)) return "false";
      const found = others.find((value) => value === raw);
      if (found === undefined) throw new RangeError(`use true or false or ${others.join(" or ")}`);
      return found;
    },
  };
}

export function choice<const T extends string>(fallback: T, ...others: readonly T[]): InputReader<T> {
  const allowed = [fallback, ...others];
  return {
    fallback,
    parse(raw) {
      const found = allowed.find((value) => value === raw);
      if (found === undefined) throw new RangeError(`use ${allowed.join(" or ")}`);
      return found;
    },
  };
}

/** A whole number in a range; undefined when it is empty. */
export function optionalInteger(least: number, most: number): InputReader<number | undefined> {
  return {
    fallback: "",
    parse(raw) {
      if (raw === "") return undefined;
      const value = /^\d{1,9}$/.test(raw) ? Number(raw) : Number.NaN;
      if (!(value >= least && value <= most)) {
        throw new RangeError(`use a whole number from ${least} to ${most}`);
      }
      return value;
    },
  };
}

export function integer(fallback: number, least: number, most: number): InputReader<number> {
  const reader = optionalInteger(least, most);
  return { fallback: String(fallback), parse: (raw) => reader.parse(raw) ?? fallback };
}

/** Seconds of a duration such as `55m`. */
export function duration(fallback: string): InputReader<number> {
  return {
    fallback,
    parse(raw) {
      const seconds = parseDuration(raw);
      if (seconds === undefined) throw new RangeError("use a duration such as 45s, 10m or 1h30m");
      return seconds;
    },
  };
}

/** Reads all inputs of an action. Throws one UserError that names every input that is wrong. */
export function readInputs<R extends InputReaders>(readers: R): InputValues<R> {
  const values: Record<string, unknown> = {};
  const problems: string[] = [];
  for (const [name, reader] of Object.entries(readers)) {
    const given = getInput(name);
    try {
      values[name] = reader.parse(given === "" ? reader.fallback : given);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      problems.push(`The input ${name} is "${given.slice(0, 100)}": ${error.message}.`);
    }
  }
  if (problems.length > 0) throw new UserError(problems.join(" "));
  return values as InputValues<R>;
}
