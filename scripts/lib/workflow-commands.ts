/** An annotation as the runner reads it from a line such as `::error file=a.yml,line=3::what is wrong`. */
export interface Annotation {
  readonly level: "error" | "warning" | "notice";
  readonly message: string;
  readonly properties: Readonly<Record<string, string>>;
}

/** What a step said on its standard output. */
export interface Transcript {
  readonly annotations: readonly Annotation[];
  readonly masks: readonly string[];
  /** The lines without the mask commands: nobody may ever read a secret here, masked or not. */
  readonly visible: string;
}

const COMMAND = /^::([^\s:]+)(?:\s+([^:]*))?::(.*)$/;

/** Reads workflow commands as the runner does (actions/runner, ActionCommand.TryParseV2). */
export function readTranscript(stdout: string): Transcript {
  const annotations: Annotation[] = [];
  const masks: string[] = [];
  const visible: string[] = [];
  let stopped: string | undefined;

  for (const line of stdout.split("\n")) {
    const match = COMMAND.exec(line.trimStart());
    const [, command = "", properties = "", data = ""] = match ?? [];
    if (stopped !== undefined) {
      if (command === stopped) stopped = undefined;
      visible.push(line);
      continue;
    }
    if (command === "add-mask") {
      masks.push(decode(data));
      continue;
    }
    visible.push(line);
    if (command === "stop-commands") stopped = data;
    if (command === "error" || command === "warning" || command === "notice") {
      annotations.push({
        level: command,
        message: decode(data),
        properties: readProperties(properties),
      });
    }
  }
  return { annotations, masks, visible: visible.join("\n") };
}

/** Reads a file such as GITHUB_OUTPUT: `name=value`, or `name<<end`, lines, `end`. */
export function readKeyValues(text: string): Record<string, string> {
  const values: Record<string, string> = {};
  const lines = text.split("\n");
  for (let index = 0; index < lines.length; index += 1) {
    const line = lines[index] ?? "";
    if (line === "") continue;
    const heredoc = /^([^=]+?)<<(.+)$/.exec(line);
    if (heredoc === null) {
      const equals = line.indexOf("=");
      if (equals < 1) throw new Error(`The runner refuses this line of a GITHUB_* file: ${line}`);
      values[line.slice(0, equals)] = line.slice(equals + 1);
      continue;
    }
    const [, name = "", end = ""] = heredoc;
    const last = lines.indexOf(end, index + 1);
    if (last < 0) throw new Error(`The value of ${name} has no end.`);
    values[name] = lines.slice(index + 1, last).join("\n");
    index = last;
  }
  return values;
}

function readProperties(text: string): Record<string, string> {
  const pairs = text.split(",").map((pair) => pair.trim().split("="));
  const properties: Record<string, string> = {};
  for (const [name = "", ...rest] of pairs) {
    if (name !== "") {
      properties[name] = decode(rest.join("=").replaceAll("%3A", ":").replaceAll("%2C", ","));
    }
  }
  return properties;
}

function decode(text: string): string {
  return text.replaceAll("%0D", "\r").replaceAll("%0A", "\n").replaceAll("%25", "%");
}
