/** Aligned text for people. Every cell is made safe here, so that no caller can forget it; colour is added afterwards. */
import { styleText } from "node:util";
import { visibleText } from "./visibleText.ts";

export type Colour = "green" | "red" | "yellow" | "cyan" | "gray";

/** A cell: text, or text with a colour. */
export type Cell = string | { readonly text: string; readonly colour: Colour };

export interface Column<T> {
  readonly title: string;
  readonly cell: (row: T) => Cell;
}

/** How many columns of a terminal a text takes: none for combining marks, two for East Asian letters and most emoji. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const character of text) {
    if (/\p{Mn}|\u200d|\ufe0f/u.test(character)) continue;
    width += /\p{sc=Han}|\p{sc=Hiragana}|\p{sc=Katakana}|\p{sc=Hangul}|\p{Emoji_Presentation}/u.test(character) ? 2 : 1;
  }
  return width;
}

/** Cuts a text to a width, with `…` in the place of what is gone. */
function cut(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  let kept = "";
  for (const character of text) {
    if (displayWidth(kept + character) > width - 1) break;
    kept += character;
  }
  return `${kept}…`;
}

/** `styleText` itself leaves the colour out when stdout is no terminal or NO_COLOR is set. */
function paint(text: string, cell: Cell): string {
  return typeof cell === "string" || text === "" ? text : styleText(cell.colour, text);
}

function textOf(cell: Cell): string {
  return visibleText(typeof cell === "string" ? cell : cell.text);
}

/**
 * Rows under titles, two spaces between columns, the last one cut to what is left of `maxWidth` (a terminal's width; absent: never
 * cut). Ends with a line break.
 */
export function formatTable<T>(rows: readonly T[], columns: readonly Column<T>[], maxWidth?: number): string {
  const cells = rows.map((row) => columns.map(({ cell }) => cell(row)));
  const lines = [columns.map(({ title }) => title), ...cells];
  const widths = columns.map((_, at) => Math.max(...lines.map((line) => displayWidth(textOf(line[at] ?? "")))));
  const before = widths.slice(0, -1).reduce((sum, width) => sum + width + 2, 0);
  const lastWidth = maxWidth === undefined ? Number.POSITIVE_INFINITY : Math.max(8, maxWidth - before);
  const format = (line: readonly Cell[]): string =>
    line
      .map((cell, at) => {
        const isLast = at === line.length - 1;
        const text = isLast ? cut(textOf(cell), lastWidth) : textOf(cell);
        return paint(text, cell) + (isLast ? "" : " ".repeat((widths[at] ?? 0) - displayWidth(text) + 2));
      })
      .join("")
      .trimEnd();
  return `${lines.map(format).join("\n")}\n`;
}

/** Labels and the like in one cell. */
export function formatPairs(pairs: Readonly<Record<string, string>>): string {
  return Object.entries(pairs)
    .map(([key, value]) => `${key}=${value}`)
    .join(", ");
}

/** Names and values of one thing, one per line; what has no value is left out. */
export function formatDetails(details: readonly (readonly [name: string, value: Cell])[]): string {
  const given = details.filter(([, value]) => textOf(value) !== "");
  const width = Math.max(...given.map(([name]) => name.length));
  return given.map(([name, value]) => `${name.padEnd(width)}  ${paint(textOf(value), value)}\n`).join("");
}
