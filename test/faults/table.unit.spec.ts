/** The table against the source: a failpoint that nobody fails, and a line that fails nothing, are both found here. */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { cases, nameOf, places, points } from "./table.ts";

const root = new URL("../../", import.meta.url);

function pointsOfSource(): readonly string[] {
  const files = ["libs/", "services/"].flatMap((folder) =>
    readdirSync(new URL(folder, root), { recursive: true, encoding: "utf8" })
      .filter((path) => /(^|\/)src\/.*\.ts$/.test(path) && !path.includes("node_modules") && !path.endsWith(".spec.ts"))
      .map((path) => folder + path),
  );
  const found = files.flatMap((path) => [
    ...readFileSync(new URL(path, root), "utf8").matchAll(/\baround\(\s*"([a-z]+)"/g),
  ]);
  return [...new Set(found.map(([, point = ""]) => point))];
}

test("each failpoint of the source is in the table, and each of the table is in the source", () => {
  expect([...points].sort()).toEqual([...pointsOfSource()].sort());
});

test("no case is in the table twice", () => {
  expect(new Set(cases.map(nameOf)).size).toBe(cases.length);
  expect(cases.length).toBeGreaterThan(5 * places.length);
});
