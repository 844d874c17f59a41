/** Filters of lists (AIP-160) from plain options. No value or key can change what the filter means: they are quoted or refused. */
import { UsageError } from "./failure.ts";

/** Text as a filter's value. */
export function quote(value: string): string {
  return `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

interface FilterParts {
  /** A filter as it is, or undefined. */
  readonly filter?: string | undefined;
  /** Field and the values of which one must hold; no values: any. */
  readonly anyOf?: Readonly<Record<string, readonly string[]>>;
  /** Labels that all must hold. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

/** The grammar knows no quotes in a label's name, and a label may have no other characters. */
function checkKey(key: string): string {
  if (!/^[a-z0-9._/-]+$/.test(key)) throw new UsageError(`"${key}" cannot be the key of a label`);
  return key;
}

/** All parts together; "" when there are none. */
export function buildFilter({ filter, anyOf = {}, labels = {} }: FilterParts): string {
  const choices = Object.entries(anyOf)
    .filter(([, values]) => values.length > 0)
    .map(([field, values]) => `(${values.map((value) => `${field} = ${quote(value)}`).join(" OR ")})`);
  const pairs = Object.entries(labels).map(([key, value]) => `labels.${checkKey(key)} = ${quote(value)}`);
  const added = [...choices, ...pairs];
  if (filter === undefined || filter.trim() === "") return added.join(" AND ");
  // Alone it goes as it is, so that the column in a refusal is that of what was typed.
  return added.length === 0 ? filter : [`(${filter})`, ...added].join(" AND ");
}
