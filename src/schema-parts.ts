import { z } from "zod";
import { orList, quote } from "./quote.ts";
import { hasLiteralPassword, isFromEnvironment } from "./secrets.ts";
import { readTemplate } from "./template.ts";
import { parseDuration } from "./values.ts";

/*
 * Building blocks of the runbook's schemas. An error of a schema is the end of a sentence that starts with the key,
 * such as `must be a duration such as 1h30m, not "26"`: the loader puts key, line and full stop around it.
 */

const DURATION = /^(?=\d)(?:\d+d)?(?:\d+h)?(?:\d+m)?(?:\d+s)?$/;
const DURATION_WORDS = "must be a duration such as 45s, 10m, 4h, 30d or 1h30m";

function durationShape() {
  return z
    .string({ error: (issue) => `${DURATION_WORDS}, not ${quote(issue.input)}` })
    .regex(DURATION, { error: (issue) => `${DURATION_WORDS}, not ${quote(issue.input)}` });
}

/** A duration longer than zero, kept as text: for a config that is parsed again once its variables are filled. */
export function durationText(description: string, example: string) {
  return durationShape()
    .refine((text) => parseDuration(text) !== 0, { error: "must be longer than zero" })
    .meta({ description, examples: [example] });
}

/** A duration longer than zero; seconds once parsed. */
export function duration(description: string, example: string) {
  return durationShape()
    .transform((text, context) => {
      const seconds = parseDuration(text);
      if (seconds !== undefined && seconds > 0) return seconds;
      const message = seconds === 0 ? "must be longer than zero" : `${DURATION_WORDS}, not ${quote(text)}`;
      context.addIssue({ code: "custom", message });
      return z.NEVER;
    })
    .meta({ description, examples: [example] });
}

/** Text that is neither empty nor blank, taken as it is. */
export function plainText(description: string, example?: string) {
  return z
    .string()
    .regex(/\S/, { error: "must not be empty" })
    .meta(example === undefined ? { description } : { description, examples: [example] });
}

/** Text with `${NAME}` in it, filled when it is used. */
export function templateText(description: string, example?: string) {
  return plainText(`${description} May hold \${NAME} and \${NAME:-default}.`, example).superRefine(
    (text, context) => {
      const { problem } = readTemplate(text);
      if (problem !== undefined) context.addIssue({ code: "custom", message: problem });
      if (hasLiteralPassword(text)) context.addIssue({ code: "custom", message: LITERAL_PASSWORD });
    },
  );
}

/** What is said of a password in the file. Never shows it. */
export const LITERAL_PASSWORD = `holds a password in clear text: keep it in a secret and write \${NAME} in its place`;

/** A secret: all of it, or the part that matters, comes from the environment. */
export function secretText(description: string, example: string) {
  return templateText(description, example).superRefine((text, context) => {
    if (isFromEnvironment(text)) return;
    const message = `holds a secret in clear text: keep it in a secret and write ${example} in its place`;
    context.addIssue({ code: "custom", message });
  });
}

/** Names that become part of object keys, file names and environment variables. */
export function nameKey(what: string) {
  const words = `must have a name of lower-case letters, digits and dashes, such as ${what}`;
  return z.string().regex(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, { error: words });
}

/** One of a few words. */
export function oneOf<const Words extends readonly [string, ...string[]]>(words: Words, description: string) {
  return z
    .enum(words, {
      error: (issue) =>
        issue.input === undefined ? undefined : `must be ${orList(words)}, not ${quote(issue.input)}`,
    })
    .meta({ description });
}
