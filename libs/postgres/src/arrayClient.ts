/**
 * A client that writes array parameters itself. The driver's own way copies each text three times; here that was a quarter of all
 * that was allocated for a job (measured: 66 of 243 KB).
 */
import { Client } from "pg";

type Query = Client["query"];

export class ArrayClient extends Client {
  override query: Query = ((first: unknown, second: unknown, ...rest: unknown[]) => {
    const run = super.query as (...values: unknown[]) => unknown;
    if (Array.isArray(second)) return run.call(this, first, second.map(written), ...rest);
    if (typeof first === "object" && first !== null && "values" in first && Array.isArray(first.values)) {
      return run.call(this, { ...first, values: first.values.map(written) }, second, ...rest);
    }
    return run.call(this, first, second, ...rest);
  }) as Query;
}

function written(value: unknown): unknown {
  return Array.isArray(value) ? arrayLiteral(value) : value;
}

// A word of these needs no quotes, unless it is the word for nothing.
const plain = /^[A-Za-z0-9_-]+$/;
const special = /["\\]/;

/** An array as Postgres reads it, section 8.15.6 of its manual; of texts, numbers, booleans, times and bytes. */
export function arrayLiteral(values: readonly unknown[]): string {
  const parts: string[] = new Array(values.length);
  for (let at = 0; at < values.length; at += 1) parts[at] = element(values[at]);
  return `{${parts.join(",")}}`;
}

function element(value: unknown): string {
  switch (typeof value) {
    case "string":
      return text(value);
    case "number":
    case "boolean":
    case "bigint":
      return String(value);
    default:
      if (value === null || value === undefined) return "NULL";
      if (value instanceof Date) return `"${value.toISOString()}"`;
      if (value instanceof Uint8Array) return `"\\\\x${Buffer.from(value).toString("hex")}"`;
      throw new TypeError("an element of an array parameter must be a text, a number, a boolean, a time or bytes");
  }
}

function text(value: string): string {
  if (plain.test(value)) return value.length === 4 && value.toUpperCase() === "NULL" ? `"${value}"` : value;
  return special.test(value) ? `"${value.replace(/["\\]/g, "\\$&")}"` : `"${value}"`;
}
