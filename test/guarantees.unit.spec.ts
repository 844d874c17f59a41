/** docs/guarantees.md promises nothing that no test keeps. */
import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { linksOf } from "./support/documents.ts";

const page = new URL("../docs/guarantees.md", import.meta.url);
const sections = readFileSync(page, "utf8")
  .split(/^### (?=P\d)/m)
  .slice(1)
  .map((section) => section.split(/^## /m, 1)[0] ?? "");

test("P1 to P8 are promised, and numbered without a gap", () => {
  const numbers = sections.map((section) => Number(/^P(\d+)\./.exec(section)?.[1]));
  expect(numbers).toEqual(numbers.map((_, at) => at + 1));
  expect(numbers.length).toBeGreaterThanOrEqual(8);
});

test.each(
  sections.map((section) => [section.split("\n", 1)[0] ?? "", section]),
)("%s names tests that are there", (_, section) => {
  const tests = linksOf(section).filter((link) => /\.spec\.ts$|conformance\.ts$/.test(link));
  expect(tests).not.toEqual([]);
  for (const link of tests) expect(existsSync(new URL(link, page)), link).toBe(true);
});
