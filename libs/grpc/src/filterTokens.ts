/** The words of a filter. Each remembers where it stood, because an error without its place helps nobody. */
import { type DomainError, invalid } from "@capstan/errors";

export interface Token {
  readonly type: "word" | "quoted" | "sign" | "end";
  /** A quoted text is without its quotes and escapes. */
  readonly text: string;
  /** From 1, in UTF-16 units. */
  readonly column: number;
}

// One alternative a type, tried in this order: a time would otherwise end at its first colon.
const tokenPattern =
  /\s*(?:(?<word>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)|[^\s"'=<>!:()]+)|(?<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?<sign><=|>=|!=|[=<>:()])|(?<end>$))/isy;

/** Splits a filter into tokens, the last of which is the end. Refuses what is none, such as a quote that is never closed. */
export function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  for (let start = 0; tokens.at(-1)?.type !== "end"; ) {
    tokenPattern.lastIndex = start;
    const match = tokenPattern.exec(text);
    if (match === null) throw unreadable(text, start);
    start = tokenPattern.lastIndex;
    tokens.push(tokenOf(match.groups ?? {}, start));
  }
  return tokens;
}

function tokenOf({ word, quoted, sign, end = "" }: Record<string, string | undefined>, until: number): Token {
  const raw = word ?? quoted ?? sign ?? end;
  const column = until - raw.length + 1;
  if (quoted !== undefined) return { type: "quoted", text: quoted.slice(1, -1).replace(/\\(.)/gs, "$1"), column };
  return { type: word !== undefined ? "word" : sign !== undefined ? "sign" : "end", text: raw, column };
}

function unreadable(text: string, start: number): DomainError {
  const rest = text.slice(start);
  const column = start + rest.length - rest.trimStart().length + 1;
  const isQuote = /^\s*["']/.test(rest);
  return invalidFilter(
    column,
    isQuote ? "the quote is never closed" : `unexpected ${JSON.stringify(text[column - 1])}`,
  );
}

/** The refusal of a filter, with the place and what would have been right there. */
export function invalidFilter(column: number, description: string): DomainError {
  return invalid([{ field: "filter", description: `column ${column}: ${description}` }]);
}
