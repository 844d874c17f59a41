/**
 * Pages of lists, after https://google.aip.dev/158: a token holds the place where the next page begins, and a fingerprint of the
 * query it belongs to. It is not secret and not signed: treat what is in it as input, as parameters only.
 */
import { createHash } from "node:crypto";
import { type DomainError, invalid } from "@capstan/errors";

const defaultPageSize = 50;
const maxPageSize = 1_000;

/** The page size to use: 0 means 50, more than 1,000 means 1,000. Refuses a negative one. */
export function pageSize(requested: number): number {
  if (requested < 0) throw invalid([{ field: "page_size", description: "must not be negative" }]);
  return requested === 0 ? defaultPageSize : Math.min(requested, maxPageSize);
}

/** What a client that sets nothing receives is 4 MiB; what surrounds the counted parts of an item has to fit too. */
const maxPageBytes = 2 * 1024 * 1024;

/** The items of a page: at most `limit`, and as many as fit a message, but at least one. `items` has one more if there is one. */
export function fitPage<T>(items: readonly T[], limit: number, bytesOf: (item: T) => number): readonly T[] {
  let bytes = 0;
  const fitting = items.findIndex((item) => {
    bytes += bytesOf(item);
    return bytes > maxPageBytes;
  });
  return items.slice(0, fitting === -1 ? limit : Math.min(limit, Math.max(1, fitting)));
}

/** `cursor` is where the next page begins; `query` the request, of which size and token do not count. */
export function encodePageToken(query: object, cursor: readonly string[]): string {
  return Buffer.from(JSON.stringify([fingerprint(query), ...cursor])).toString("base64url");
}

/** Null for the first page, which has no token. Refuses the token of another query, and what is no token. */
export function decodePageToken(token: string, query: object): readonly string[] | null {
  if (token === "") return null;
  const [owner, ...cursor] = parseToken(token);
  if (owner === undefined) throw badToken("is not a page token of this service");
  if (owner !== fingerprint(query)) throw badToken("belongs to another query; ask again from the first page");
  return cursor;
}

function parseToken(token: string): string[] {
  try {
    const parts: unknown = JSON.parse(Buffer.from(token, "base64url").toString());
    return Array.isArray(parts) && parts.every((part) => typeof part === "string" && !part.includes("\0")) ? parts : [];
  } catch {
    return [];
  }
}

function badToken(description: string): DomainError {
  return invalid([{ field: "page_token", description }]);
}

function fingerprint(query: object): string {
  const { pageSize: _size, pageToken: _token, ...rest } = query as Record<string, unknown>;
  const sorted = Object.entries(rest).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash("sha256").update(JSON.stringify(sorted)).digest("base64url").slice(0, 16);
}
