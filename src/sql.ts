/*
 * A little reading of SQL, enough to refuse checks that prove nothing. It is no parser: where it does not understand a
 * query it believes that the query is honest.
 */

/** A word in lower case, a piece of punctuation, or `""` for a literal or a quoted identifier's stand-in. */
type Token = string;

const LITERAL = "''";
const IDENTIFIER = '""';

const TOKEN =
  /--[^\n]*|\/\*|(\$(?:[A-Za-z_]\w*)?\$)|([eE]'(?:[^'\\]|\\[\s\S]|'')*')|('(?:[^']|'')*')|("(?:[^"]|"")*")|([A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*)|(\d[\w.]*)|(::|[^\s])/g;

function tokensOf(query: string): Token[] {
  const tokens: Token[] = [];
  TOKEN.lastIndex = 0;
  for (let match = TOKEN.exec(query); match !== null; match = TOKEN.exec(query)) {
    const [all, dollar, escaped, text, identifier, word] = match;
    if (all === "/*") TOKEN.lastIndex = endOfComment(query, match.index);
    else if (dollar !== undefined) {
      const end = query.indexOf(dollar, TOKEN.lastIndex);
      TOKEN.lastIndex = end === -1 ? query.length : end + dollar.length;
      tokens.push(LITERAL);
    } else if (escaped !== undefined || text !== undefined) tokens.push(LITERAL);
    else if (identifier !== undefined) tokens.push(IDENTIFIER);
    else if (word !== undefined) tokens.push(word.toLowerCase());
    else if (!all.startsWith("--")) tokens.push(all);
  }
  return tokens.at(-1) === ";" ? tokens.slice(0, -1) : tokens;
}

/** Comments of PostgreSQL nest. */
function endOfComment(query: string, start: number): number {
  let depth = 0;
  for (let at = start; at < query.length; at += 1) {
    if (query.startsWith("/*", at)) {
      depth += 1;
      at += 1;
    } else if (query.startsWith("*/", at)) {
      depth -= 1;
      at += 1;
      if (depth === 0) return at + 1;
    }
  }
  return query.length;
}

/** Index of the parenthesis that closes the one at `open`, or the end. */
function closing(tokens: readonly Token[], open: number): number {
  let depth = 0;
  for (let at = open; at < tokens.length; at += 1) {
    if (tokens[at] === "(") depth += 1;
    if (tokens[at] === ")") depth -= 1;
    if (depth === 0) return at;
  }
  return tokens.length;
}

/** Clauses and operators at the outer level with which a count may give no row, or several. */
const SEVERAL_ROWS = new Set([
  "group",
  "having",
  "limit",
  "offset",
  "fetch",
  "union",
  "intersect",
  "except",
  "over",
]);

/** Whether the query is `SELECT count(…) …`, which always answers one whole number that is not negative. */
export function isCountQuery(query: string): boolean {
  const tokens = tokensOf(query);
  if (tokens[0] !== "select" || tokens[1] !== "count" || tokens[2] !== "(") return false;
  const rest = outerLevel(tokens.slice(closing(tokens, 2) + 1));
  if (rest.some((token) => SEVERAL_ROWS.has(token))) return false;
  // What follows must leave the number as it is: a cast, a name, the next column, FROM.
  const after = rest[0];
  return after === undefined || /^(?:::|as|,|from|filter|"")$|^[a-z_]/.test(after);
}

function outerLevel(tokens: readonly Token[]): Token[] {
  const outer: Token[] = [];
  for (let at = 0; at < tokens.length; at += 1) {
    const token = tokens[at] ?? "";
    outer.push(token);
    if (token === "(") at = closing(tokens, at);
  }
  return outer;
}

/** Functions that answer without reading a table, and words that may stand before a parenthesis without being one. */
const READS_NOTHING = new Set(
  `select from where and or not in any some all exists as case when then else on by having values distinct is interval
   filter over row array cast coalesce nullif greatest least count sum avg min max bool_and bool_or every array_agg
   string_agg now clock_timestamp transaction_timestamp statement_timestamp timeofday current_timestamp localtimestamp
   current_time localtime version abs ceil ceiling floor round trunc sign mod power sqrt random length char_length lower
   upper concat format trim substring overlay position repeat reverse to_char to_timestamp to_date to_number date_trunc
   date_part extract make_date make_interval make_timestamp make_timestamptz age generate_series unnest
   gen_random_uuid md5 current_database current_schema current_setting pg_sleep numeric decimal varchar char time
   timestamp timestamptz lateral union intersect except materialized limit offset`.split(/\s+/),
);
const FROM_IS_NO_CLAUSE = new Set(["extract", "substring", "trim", "overlay"]);
const CLAUSE_ENDS = new Set([
  "where",
  "group",
  "having",
  "order",
  "limit",
  "offset",
  "fetch",
  "window",
  "for",
  ")",
]);

/** Whether the query reads anything that a backup could hold: a table, or a function that is not known to read none. */
export function readsData(query: string): boolean {
  const tokens = tokensOf(query);
  const named = namedQueries(tokens);
  const callers: Token[] = [];
  /** At which depths a FROM clause is open. */
  const inFrom = new Set<number>();
  for (const [at, token] of tokens.entries()) {
    const before = tokens[at - 1] ?? "";
    if (token === "(") {
      if (before === IDENTIFIER) return true;
      // `AS t(x)` and `) t(x)` name columns.
      const isAlias = ["as", ")"].includes(tokens[at - 2] ?? "");
      if (/^[a-z_]/.test(before) && !isAlias && !READS_NOTHING.has(before) && !named.has(before)) return true;
      callers.push(before);
      inFrom.delete(callers.length);
      continue;
    }
    if (CLAUSE_ENDS.has(token)) inFrom.delete(callers.length);
    if (token === ")") callers.pop();
    if (token === "table") return true;
    const isFrom = token === "from" && before !== "distinct" && !FROM_IS_NO_CLAUSE.has(callers.at(-1) ?? "");
    if (isFrom) inFrom.add(callers.length);
    const startsItem = isFrom || token === "join" || (token === "," && inFrom.has(callers.length));
    if (!startsItem) continue;
    const item = tokens.slice(at + 1).find((word) => word !== "only" && word !== "lateral") ?? "";
    if (item === "(" || named.has(item) || READS_NOTHING.has(item)) continue;
    if (item !== "") return true;
  }
  return false;
}

/** Names given by `WITH name AS (…)`. */
function namedQueries(tokens: readonly Token[]): Set<Token> {
  const names = new Set<Token>();
  if (!tokens.includes("with")) return names;
  for (const [at, token] of tokens.entries()) {
    if (token !== "as" || !["(", "not", "materialized"].includes(tokens[at + 1] ?? "")) continue;
    const open = tokens[at - 1] === ")" ? tokens.lastIndexOf("(", at) : at;
    names.add(tokens[open - 1] ?? "");
  }
  return names;
}
