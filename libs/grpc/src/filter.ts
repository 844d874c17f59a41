/**
 * Filters of lists, a subset of https://google.aip.dev/160: comparisons (= != < <= > >=), labels (`labels.team = "x"`,
 * `labels.team:*`), AND, OR, NOT or `-`, parentheses. As AIP-160 has it, OR binds tighter than AND: `a AND b OR c` means
 * `a AND (b OR c)`. Words are case-sensitive; a `*` in a text is an ordinary character.
 */
import { invalid } from "@capstan/errors";
import type { Filter, FilterOperator } from "./filterAst.ts";
import { invalidFilter, type Token, tokensOf } from "./filterTokens.ts";
import { type FilterField, readText, readValue } from "./filterValue.ts";

/** The fields a list can be filtered by, under their proto names. */
export type FilterFields = Readonly<Record<string, FilterField>>;

const maxLength = 4_096;
const maxDepth = 32;
const maxComparisons = 100;

/** Null for an empty filter. Refuses anything else it does not understand, saying where and what it expected. */
export function parseFilter(text: string, fields: FilterFields): Filter | null {
  if (text.length > maxLength) {
    throw invalid([{ field: "filter", description: `may have ${maxLength} characters, has ${text.length}` }]);
  }
  const reader = createReader(tokensOf(text));
  if (reader.peek().type === "end") return null;
  const filter = parseAnd({ ...reader, fields, countComparison: createCounter() }, 0);
  const rest = reader.peek();
  if (rest.type !== "end") throw invalidFilter(rest.column, "expected AND, OR or the end");
  return filter;
}

interface Parser {
  peek(): Token;
  next(): Token;
  readonly fields: FilterFields;
  countComparison(column: number): void;
}

function createReader(tokens: readonly Token[]): Pick<Parser, "peek" | "next"> {
  let at = 0;
  const end: Token = { type: "end", text: "", column: 1 };
  const peek = () => tokens[at] ?? tokens.at(-1) ?? end;
  return {
    peek,
    next() {
      const token = peek();
      at += 1;
      return token;
    },
  };
}

function createCounter(): Parser["countComparison"] {
  let count = 0;
  return (column) => {
    count += 1;
    if (count > maxComparisons) throw invalidFilter(column, `more than ${maxComparisons} comparisons`);
  };
}

function parseAnd(parser: Parser, depth: number): Filter {
  return parseList(parser, "AND", "and", () => parseOr(parser, depth));
}

function parseOr(parser: Parser, depth: number): Filter {
  return parseList(parser, "OR", "or", () => parseTerm(parser, depth));
}

function parseList(parser: Parser, word: string, type: "and" | "or", parseItem: () => Filter): Filter {
  const first = parseItem();
  const filters = [first];
  while (isWord(parser.peek(), word)) {
    parser.next();
    filters.push(parseItem());
  }
  return filters.length === 1 ? first : { type, filters };
}

function parseTerm(parser: Parser, depth: number): Filter {
  const token = parser.peek();
  if (depth > maxDepth) throw invalidFilter(token.column, `nested deeper than ${maxDepth}`);
  if (isWord(token, "NOT") || isWord(token, "-")) {
    parser.next();
    return { type: "not", filter: parseTerm(parser, depth + 1) };
  }
  if (token.type !== "sign" || token.text !== "(") return parseComparison(parser);
  parser.next();
  const filter = parseAnd(parser, depth + 1);
  const close = parser.next();
  if (close.text !== ")" || close.type !== "sign") throw invalidFilter(close.column, "expected )");
  return filter;
}

function isWord(token: Token, word: string): boolean {
  return token.type === "word" && token.text === word;
}

const operators: readonly string[] = ["=", "!=", "<", "<=", ">", ">="] satisfies FilterOperator[];

function parseComparison(parser: Parser): Filter {
  const first = parser.next();
  parser.countComparison(first.column);
  if (first.type !== "word") throw invalidFilter(first.column, 'expected a comparison, such as state = "X"');
  // `-state = "X"` is NOT state = "X".
  const isNegated = first.text.startsWith("-");
  const path = isNegated ? { ...first, text: first.text.slice(1), column: first.column + 1 } : first;
  const filter = parseRestriction(parser, path);
  return isNegated ? { type: "not", filter } : filter;
}

function parseRestriction(parser: Parser, path: Token): Filter {
  const { name, field, key } = findField(parser, path);
  const sign = parser.next();
  if (field.type === "labels") return parseLabel(parser, name, key, sign);
  if (sign.type !== "sign" || !operators.includes(sign.text)) {
    throw invalidFilter(sign.column, `expected one of ${operators.join(" ")}`);
  }
  const operator = sign.text as FilterOperator;
  return { type: "compare", field: name, operator, value: readValue(field, operator, parser.next()) };
}

/** `key` is what stands behind the dot of a labels field, null when there is none; it may be quoted. */
function findField(parser: Parser, { text, column }: Token): { name: string; field: FilterField; key: string | null } {
  const { fields } = parser;
  const whole = ownField(fields, text);
  if (whole !== undefined) return { name: text, field: whole, key: null };
  const dot = text.indexOf(".");
  const name = text.slice(0, dot);
  const field = dot < 0 ? undefined : ownField(fields, name);
  if (field?.type !== "labels") {
    throw invalidFilter(column, `unknown field ${JSON.stringify(text)}; known are ${Object.keys(fields).join(", ")}`);
  }
  const key = text.slice(dot + 1);
  return { name, field, key: key === "" && parser.peek().type === "quoted" ? readText(parser.next()) : key };
}

function ownField(fields: FilterFields, name: string): FilterField | undefined {
  return Object.hasOwn(fields, name) ? fields[name] : undefined;
}

/** `labels.k = v`, `labels.k != v`, `labels.k:v`, and for the mere presence of a key `labels.k:*` or `labels:k`. */
function parseLabel(parser: Parser, field: string, key: string | null, sign: Token): Filter {
  if (key === "" || (key === null && sign.text !== ":")) {
    throw invalidFilter(sign.column, `expected a key, as in ${field}.team = "x"`);
  }
  if (sign.type !== "sign" || !["=", "!=", ":"].includes(sign.text)) {
    throw invalidFilter(sign.column, "expected one of = != :");
  }
  const token = parser.next();
  if (token.type !== "word" && token.type !== "quoted") throw invalidFilter(token.column, "expected a value");
  if (key === null) return { type: "hasLabel", field, key: readText(token) };
  if (sign.text === ":" && isWord(token, "*")) return { type: "hasLabel", field, key };
  const label: Filter = { type: "label", field, key, value: readText(token) };
  return sign.text === "!=" ? { type: "not", filter: label } : label;
}
