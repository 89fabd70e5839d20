/** A document of blocks whose tables and lists can be cut to a size, with a sentence saying how much was left out. */

/** A paragraph or a heading that is already Markdown. */
export interface Text {
  readonly kind: "text";
  readonly text: string;
}

/** Rows of Markdown cells. */
export interface Table {
  readonly kind: "table";
  /** What a row is, in the plural: for the sentence about what was left out. */
  readonly rowsAre: string;
  readonly head: readonly string[];
  readonly rows: readonly Row[];
}

export interface Row {
  /** Asked for only when the row is shown: a table may have very many. */
  cells(): readonly string[];
  /** Kept before others when rows must go, such as a check that failed. */
  readonly important?: boolean;
}

/** A bullet list of Markdown items. */
interface List {
  readonly kind: "list";
  readonly rowsAre: string;
  readonly items: readonly (() => string)[];
}

export type Block = Text | Table | List;

/** The runner drops a summary of more than 1 MiB (1,048,576 bytes) a step; this leaves room for what others add. */
export const SUMMARY_BYTES = 900 * 1024;

export function text(markdown: string): Text {
  return { kind: "text", text: markdown };
}

/** The whole document, or with `maxBytes` one that is at most so long in UTF-8. */
export function renderDocument(blocks: readonly Block[], maxBytes?: number): string {
  if (maxBytes === undefined)
    return join(blocks.map((block) => renderBlock(block, Number.POSITIVE_INFINITY)));
  for (let rows = 500; rows >= 4; rows = Math.floor(rows / 2)) {
    const document = join(blocks.map((block) => renderBlock(block, rows)));
    if (Buffer.byteLength(document) <= maxBytes) return document;
  }
  return firstBlocks(blocks, maxBytes);
}

function join(parts: readonly string[]): string {
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

/** The last resort: whole blocks from the beginning, so that no table or chart is cut in the middle. */
function firstBlocks(blocks: readonly Block[], maxBytes: number): string {
  const sentence = "*The rest of this report is too long for this place: see the report file.*";
  const parts: string[] = [];
  let bytes = Buffer.byteLength(sentence) + 3;
  for (const block of blocks) {
    const part = renderBlock(block, 4);
    bytes += Buffer.byteLength(part) + 2;
    if (bytes > maxBytes) break;
    parts.push(part);
  }
  return join([...parts, sentence]);
}

function renderBlock(block: Block, maxRows: number): string {
  if (block.kind === "text") return block.text;
  if (block.kind === "list") {
    const items = block.items.slice(0, maxRows).map((item) => `- ${item()}`);
    return withSentence(items.join("\n"), block.items.length - items.length, block.rowsAre);
  }
  if (block.rows.length === 0) return "";
  const rows = choose(block.rows, maxRows);
  const lines = [block.head, block.head.map(() => "---"), ...rows.map((row) => row.cells())].map(
    (cells) => `| ${cells.join(" | ")} |`,
  );
  return withSentence(lines.join("\n"), block.rows.length - rows.length, block.rowsAre);
}

/** The important rows first, then from the beginning; in their own order. */
function choose(rows: readonly Row[], maxRows: number): readonly Row[] {
  if (rows.length <= maxRows) return rows;
  const chosen = new Set<Row>();
  for (const important of [true, false]) {
    for (const row of rows) {
      if (chosen.size < maxRows && (row.important ?? false) === important) chosen.add(row);
    }
  }
  return rows.filter((row) => chosen.has(row));
}

function withSentence(shown: string, left: number, rowsAre: string): string {
  if (left <= 0) return shown;
  return `${shown}\n\n*${left.toLocaleString("en")} more ${rowsAre} are left out here: the report file has them all.*`;
}
