/** docs/limits.md, and values at its limits and beyond them. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { tableAfter } from "./documents.ts";

export const now = new Date("2026-01-01T00:00:00Z");
export const text = (length: number) => "x".repeat(length);
export const many = <T>(count: number, make: (index: number) => T) =>
  Array.from({ length: count }, (_, index) => make(index));
export const mapOf = (count: number, value = "v") => Object.fromEntries(many(count, (index) => [`k${index}`, value]));
export const seconds = (count: number) => ({ seconds: count, nanos: 0 });
export const day = 86_400;

/** A field as the page names it, what its row must say, a value at the limit, a value beyond it. */
export type Case = readonly [field: string, says: string, good: object, bad: object];

export const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)]);
export const page = readFileSync(new URL("../../docs/limits.md", import.meta.url), "utf8");
export const rowsAfter = (heading: string) =>
  new Map(tableAfter(page, heading).map(([field = "", limit = ""]) => [field, limit]));

/** Holds the rows of a table against what refuses: `refusals` counts them. */
export function checkTable(heading: string, cases: readonly Case[], refusals: (fields: object) => number): void {
  describe(`docs/limits.md, ${heading}`, () => {
    const rows = rowsAfter(heading);

    it.each(cases)("%s: %s", (field, says, good, bad) => {
      expect(rows.get(field)).toContain(says);
      expect(refusals(good)).toBe(0);
      expect(refusals(bad)).toBeGreaterThan(0);
    });

    it("has no row that nothing checks", () => {
      const checked = new Set(cases.map(([field]) => field)).add("whole spec");
      expect([...rows.keys()].filter((field) => !checked.has(field))).toEqual([]);
    });
  });
}
