/** Values of a filter, read as the type of the field they are compared with. */
import type { FilterOperator, FilterValue } from "./filterAst.ts";
import { invalidFilter, type Token } from "./filterTokens.ts";

/** `enum` needs its words in `values`; `id` is a UUID, and its column one; `labels` are compared by key, as in `labels.team = "x"`. */
type FilterFieldType = "string" | "enum" | "id" | "time" | "number" | "labels";

/** A field a list can be filtered by. */
export interface FilterField {
  readonly type: FilterFieldType;
  readonly values?: readonly string[];
}

/** Reads the value of a comparison; refuses another type than the field's and operators that mean nothing for it. */
export function readValue(field: FilterField, operator: FilterOperator, token: Token): FilterValue {
  if (token.type !== "word" && token.type !== "quoted") throw invalidFilter(token.column, "expected a value");
  switch (field.type) {
    case "enum":
      return readEnum(field.values ?? [], operator, token);
    case "id":
      return readId(operator, token);
    case "number":
      return readNumber(token);
    case "time":
      return readTime(token);
    default:
      return { type: "string", text: readText(token) };
  }
}

/** Any text, bare or quoted. */
export function readText({ text, column }: Token): string {
  // Postgres cannot store it, so nothing can be equal to it.
  if (text.includes("\0")) throw invalidFilter(column, "a NUL character can be in no value");
  return text;
}

function readEnum(values: readonly string[], operator: FilterOperator, { text, column }: Token): FilterValue {
  if (operator !== "=" && operator !== "!=") throw invalidFilter(column, `${operator} needs a field with an order`);
  if (!values.includes(text)) throw invalidFilter(column, `expected one of ${values.join(", ")}`);
  return { type: "string", text };
}

function readId(operator: FilterOperator, { text, column }: Token): FilterValue {
  if (operator !== "=" && operator !== "!=") throw invalidFilter(column, `${operator} needs a field with an order`);
  if (!/^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i.test(text)) throw invalidFilter(column, "expected an id");
  return { type: "string", text };
}

function readNumber({ type, text, column }: Token): FilterValue {
  const isNumber = type === "word" && /^-?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(text) && Number.isFinite(Number(text));
  if (!isNumber) throw invalidFilter(column, "expected a number");
  return { type: "number", number: Number(text) };
}

const timePattern = /^(\d{4})-(\d\d)-(\d\d)T\d\d:\d\d:\d\d(?:\.(\d{1,9}))?(Z|[+-](0\d|1[0-4]):[0-5]\d)$/i;

function readTime({ text, column }: Token): FilterValue {
  const match = timePattern.exec(text);
  const time = new Date(text.toUpperCase());
  // Date makes March of February 30th; comparing the day finds that.
  const [, year, month, day] = (match ?? []).map(Number);
  const isDay = new Date(Date.UTC(year ?? 0, (month ?? 0) - 1, day)).getUTCDate() === day;
  // Four digits also in UTC: year 0 is none for Postgres, and an offset may lead past 9999.
  const isYear = time.getUTCFullYear() >= 1 && time.getUTCFullYear() <= 9_999;
  if (match === null || !isDay || !isYear) {
    throw invalidFilter(column, "expected a time as in RFC 3339, for example 2026-11-20T10:00:00Z");
  }
  const seconds = time.toISOString().slice(0, -5);
  return { type: "time", text: match[4] === undefined ? `${seconds}Z` : `${seconds}.${match[4].slice(0, 6)}Z` };
}
