/** The same as on the page, to be done in a terminal: with the CLI, and with curl. */
import { apiUrl } from "./base.ts";

/** A word as a shell takes it. */
function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

export function cli(...words: readonly string[]): string {
  return ["npx capstan", ...words.map(quote)].join(" ");
}

export function curl(
  method: "GET" | "POST",
  path: string,
  query: Readonly<Record<string, string>> = {},
  body?: unknown,
): string {
  const url = quote(apiUrl(path, query).href);
  if (method === "GET") return `curl -s ${url}`;
  return `curl -s -X POST ${url} -H 'content-type: application/json' -d ${quote(JSON.stringify(body ?? {}))}`;
}
