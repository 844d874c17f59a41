import { DomainError } from "@capstan/errors";
import fc from "fast-check";
import { expect, test } from "vitest";
import { decodePageToken, encodePageToken, fitPage, pageSize } from "./paging.ts";

const query = { filter: "state = RUNNING", orderBy: "create_time", pageSize: 10, pageToken: "" };

test("a page size is the default, what was asked, or the limit", () => {
  expect([0, 1, 1_000, 1_001, 2 ** 31 - 1].map(pageSize)).toEqual([50, 1, 1_000, 1_000, 1_000]);
  expect(() => pageSize(-1)).toThrow("page_size: must not be negative");
});

test("a page ends at its limit, or before its items are too large for a message, but has at least one", () => {
  const mib = 1024 * 1024;
  const fit = (sizes: readonly number[], limit = 3) => fitPage(sizes, limit, (size) => size);
  expect(fit([1, 1, 1, 1])).toHaveLength(3);
  expect(fit([mib, mib, 1, 1])).toHaveLength(2);
  expect(fit([10 * mib, 1])).toHaveLength(1);
  expect(fit([])).toHaveLength(0);
});

test("a token gives back its cursor for the same query, whatever the size of the page", () => {
  fc.assert(
    fc.property(fc.array(fc.string().filter((text) => !text.includes("\0"))), (cursor) => {
      const token = encodePageToken(query, cursor);
      expect(token).toMatch(/^[\w-]+$/);
      expect(decodePageToken(token, { ...query, pageSize: 99, pageToken: token })).toEqual(cursor);
    }),
  );
});

test("the first page has no cursor", () => {
  expect(decodePageToken("", query)).toBeNull();
});

test("the token of another query is refused", () => {
  const token = encodePageToken(query, ["a"]);
  expect(() => decodePageToken(token, { ...query, filter: "" })).toThrow("page_token: belongs to another query");
});

test("garbage is refused and never throws anything else", () => {
  const hostile = fc.oneof(
    fc.string(),
    fc.base64String(),
    fc.json().map((text) => Buffer.from(text).toString("base64url")),
    fc.constant(Buffer.from('["x", "\\u0000"]').toString("base64url")),
  );
  fc.assert(
    fc.property(hostile, (token) => {
      fc.pre(token !== "");
      expect(() => decodePageToken(token, query)).toThrow(DomainError);
    }),
  );
});
