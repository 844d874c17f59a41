/** Arrays as text, for what has no binary form of ours. */

// A word of these needs no quotes, unless it is the word for nothing.
const plain = /^[A-Za-z0-9_-]+$/;

/** An array as Postgres reads it, section 8.15.6 of its manual; of texts, numbers, booleans, times and bytes. */
export function arrayLiteral(values: readonly unknown[]): string {
  return `{${values.map(element).join(",")}}`;
}

function element(value: unknown): string {
  switch (typeof value) {
    case "string":
      return plain.test(value) && value.toUpperCase() !== "NULL" ? value : `"${value.replace(/["\\]/g, "\\$&")}"`;
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
