/** Times and durations of texts: RFC 3339, and Go's form of durations ("1h30m", "1.5s", "250ms") as in CEL. */
import { ExpressionError } from "./expressionError.ts";
import { timeOf } from "./operators.ts";
import { assertFinite, Duration, phraseOf } from "./values.ts";

const rfc3339 =
  /^(\d{4})-(\d{2})-(\d{2})[Tt](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;
const durationPart = /(\d{1,15}(?:\.\d{1,9})?)(ms|h|m|s)/y;
const unitMs: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };

/** Of a text, or of seconds since 1970. */
export function timeOfText(value: unknown): Date {
  if (value instanceof Date) return value;
  if (typeof value === "number") return timeOf(value * 1_000);
  if (typeof value !== "string") throw new ExpressionError(`cannot make a time of ${phraseOf(value)}`);
  const [, year, month, day] = rfc3339.exec(value) ?? [];
  if (year === undefined || !isDay(Number(year), Number(month), Number(day))) {
    throw new ExpressionError(
      `cannot make a time of ${JSON.stringify(value.slice(0, 64))}; write it like 2026-01-31T08:00:00Z (RFC 3339)`,
    );
  }
  return timeOf(Date.parse(value));
}

function isDay(year: number, month: number, day: number): boolean {
  const date = new Date(Date.UTC(year, month - 1, day));
  return date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
}

export function durationOfText(value: unknown): Duration {
  if (value instanceof Duration) return value;
  if (typeof value !== "string") throw new ExpressionError(`cannot make a duration of ${phraseOf(value)}`);
  const ms = value.length > 64 ? null : durationMs(value);
  if (ms === null) {
    throw new ExpressionError(
      `cannot make a duration of ${JSON.stringify(value.slice(0, 64))}; write it like 1h30m, 90s or 250ms`,
    );
  }
  return new Duration(assertFinite(ms));
}

function durationMs(text: string): number | null {
  const sign = text.startsWith("-") ? -1 : 1;
  let at = sign < 0 ? 1 : 0;
  let ms = 0;
  do {
    durationPart.lastIndex = at;
    const [part, amount, unit] = durationPart.exec(text) ?? [];
    if (part === undefined) return null;
    ms += Number(amount) * (unitMs[unit ?? ""] ?? 0);
    at += part.length;
  } while (at < text.length);
  return sign * ms;
}
