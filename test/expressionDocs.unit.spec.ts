/** docs/expressions.md, row by row: what it says that an expression gives, or says when it fails, is so; no function is left out. */
import { readFileSync } from "node:fs";
import { evaluate } from "@capstan/expressions";
import { describe, expect, test } from "vitest";
import { functions, methods } from "../libs/expressions/src/functions.ts";
import { tableAfter } from "./support/documents.ts";

const page = readFileSync(new URL("../docs/expressions.md", import.meta.url), "utf8");
const [, input = ""] = /read `input` `(\{.*\})`\.$/m.exec(page) ?? [];
const scope = { input: JSON.parse(input) };

const tables: readonly string[] = ["| Expression | Gives", "## Functions", "| Of a text", "| Of a list", "| Of times"];
const rows = tables
  .flatMap((place) => tableAfter(page, place))
  .map(([text = "", value = ""]) => [unescaped(text), value] as const);

/** A table has `|` escaped. */
function unescaped(cell: string): string {
  return cell.replaceAll("\\|", "|");
}

describe("docs/expressions.md", () => {
  test.each(rows)("%s gives %s", (text, value) => {
    expect(evaluate(text, scope)).toEqual(JSON.parse(value.replace(/^`|`$/g, "")));
  });

  test.each(tableAfter(page, "| Expression | Says"))("%s says %s", (text = "", message = "") => {
    expect(() => evaluate(unescaped(text), scope)).toThrow(message);
  });

  test("shows every function", () => {
    const shown = rows.map(([text]) => text).join("\n") + page;
    for (const name of functions.keys()) expect(shown).toContain(`${name}(`);
    for (const name of methods.keys()) expect(shown).toMatch(new RegExp(`\\.${name}\\(|\`${name}\``));
  });
});
