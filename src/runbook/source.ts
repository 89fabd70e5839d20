import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type ParsedNode,
  parseDocument,
  type YAMLMap,
} from "yaml";
import type { SourceLocation } from "../errors.ts";
import { type Path, problemAt, problemIn, type RunbookProblem } from "./problem.ts";
import { syntaxProblem, tagProblem } from "./syntax.ts";

/** A YAML file that was read, and where everything in it stands. */
export interface Source {
  /** Maps, lists, texts, numbers, booleans and nulls, without cycles. Meaningless when a problem is fatal. */
  readonly value: unknown;
  readonly problems: readonly RunbookProblem[];
  /** Whether the problems leave nothing that could be judged any further. */
  readonly fatal: boolean;
  /** Where a value is: a text or number itself, a map or list by its key. The nearest existing ancestor if it is absent. */
  locate(path: Path): SourceLocation;
  /** Where a key of the map at `path` is. */
  locateKey(path: Path, key: string): SourceLocation;
}

type Tree = Document.Parsed<ParsedNode>;

const MAX_DEPTH = 40;
const MAX_ALIASES = 100;
const PLAIN_TAGS = new Set(
  ["str", "int", "float", "bool", "null", "map", "seq"].map((tag) => `tag:yaml.org,2002:${tag}`),
);

/** Reads YAML. Whatever the text is, what is wrong with it comes back as problems. */
export function readSource(text: string, file: string): Source {
  const lines = new LineCounter();
  const tree = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    stringKeys: true,
    // Reported with their path by `survey`.
    uniqueKeys: false,
    logLevel: "error",
  });

  function at(offset: number | undefined): SourceLocation {
    const { line, col } = lines.linePos(offset ?? 0);
    // An empty text has no line.
    return { file, line: Math.max(line, 1), column: Math.max(col, 1) };
  }

  function locate(path: Path): SourceLocation {
    let offset = startOf(tree.contents);
    let node: unknown = tree.contents;
    for (const part of path) {
      const child = childOf(resolved(node, tree), part);
      if (child === undefined) break;
      offset = isScalar(child.value) && child.value.source !== "" ? startOf(child.value) : child.offset;
      node = child.value;
    }
    return at(offset);
  }

  function locateKey(path: Path, key: string): SourceLocation {
    let node: unknown = tree.contents;
    for (const part of path) node = childOf(resolved(node, tree), part)?.value;
    return at(childOf(resolved(node, tree), key)?.offset ?? startOf(tree.contents));
  }

  const source = { locate, locateKey };
  const broken = syntaxProblem(tree.errors, text) ?? tagProblem(tree.warnings);
  if (broken !== undefined) {
    const problem = problemIn(broken.message, at(Math.min(broken.offset, text.trimEnd().length)));
    return { ...source, value: undefined, problems: [problem], fatal: true };
  }
  const found = survey(tree);
  const problems = found.map(({ path, clause, offset }) => problemAt(path, clause, at(offset)));
  if (found.some(({ fatal }) => fatal)) return { ...source, value: undefined, problems, fatal: true };
  try {
    return { ...source, value: tree.toJS({ maxAliasCount: MAX_ALIASES }), problems, fatal: false };
  } catch {
    // All that is left to go wrong here is the count of aliases.
    const problem = problemAt([], "repeats its anchors too often: write the values out", at(0));
    return { ...source, value: undefined, problems: [...problems, problem], fatal: true };
  }
}

function startOf(node: unknown): number | undefined {
  return isScalar(node) || isMap(node) || isSeq(node) || isAlias(node) ? node.range?.[0] : undefined;
}

function resolved(node: unknown, tree: Tree): unknown {
  return isAlias(node) ? node.resolve(tree) : node;
}

/** A value in a map or list, and where its key, or it itself in a list, starts. The last of several equal keys counts. */
function childOf(
  node: unknown,
  part: string | number,
): { value: unknown; offset: number | undefined } | undefined {
  if (isSeq(node)) {
    const value = node.items[Number(part)];
    return value === undefined ? undefined : { value, offset: startOf(value) };
  }
  if (!isMap(node)) return undefined;
  const pair = node.items.findLast(({ key }) => keyText(key) === String(part));
  return pair === undefined ? undefined : { value: pair.value, offset: startOf(pair.key) };
}

function keyText(key: unknown): string {
  return isScalar(key) ? String(key.value ?? "") : "";
}

interface Finding {
  readonly path: Path;
  readonly clause: string;
  readonly offset: number | undefined;
  readonly fatal: boolean;
}

/** Looks for what YAML allows and a runbook does not: equal keys, cycles, strange tags, a depth that only an attack has. */
function survey(tree: Tree): Finding[] {
  const findings: Finding[] = [];

  function visit(node: unknown, path: Path, ancestors: readonly unknown[]): void {
    const offset = startOf(node);
    const complain = (clause: string, fatal: boolean) => findings.push({ path, clause, offset, fatal });
    if (isAlias(node)) {
      const target = node.resolve(tree);
      if (target === undefined) complain("uses an anchor that is not defined before it", true);
      else if (ancestors.includes(target)) complain("repeats itself for ever through an anchor", true);
      return;
    }
    if (ancestors.length > MAX_DEPTH) {
      complain("is nested too deeply", true);
      return;
    }
    if (hasStrangeTag(node))
      complain("has a YAML tag, which a runbook doesn't use: put the value in quotes", true);
    const inside = [...ancestors, node];
    if (isSeq(node)) for (const [index, item] of node.items.entries()) visit(item, [...path, index], inside);
    if (isMap(node)) {
      findings.push(...equalKeys(node, path));
      for (const { key, value } of node.items) {
        const below = [...path, keyText(key)];
        // zod passes over it without a word.
        if (keyText(key) === "__proto__") {
          findings.push({
            path: below,
            clause: "is no name that can be used",
            offset: startOf(key),
            fatal: true,
          });
        }
        visit(value, below, inside);
      }
    }
  }

  visit(tree.contents, [], []);
  return findings;
}

function hasStrangeTag(node: unknown): boolean {
  if (!isScalar(node) && !isMap(node) && !isSeq(node)) return false;
  return node.tag !== undefined && !PLAIN_TAGS.has(node.tag);
}

function equalKeys(map: YAMLMap, path: Path): Finding[] {
  const seen = new Set<string>();
  return map.items.flatMap(({ key }) => {
    const text = keyText(key);
    if (!seen.has(text)) {
      seen.add(text);
      return [];
    }
    const clause = "stands twice in the same map: remove one of them";
    return [{ path: [...path, text], clause, offset: startOf(key), fatal: false }];
  });
}
