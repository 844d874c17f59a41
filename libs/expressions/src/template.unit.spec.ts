import { expect, it, test } from "vitest";
import { splitTemplate } from "./index.ts";

const cases: readonly [template: string, parts: readonly object[]][] = [
  ["", []],
  ["plain", [{ text: "plain" }]],
  ["${{ input.n }}", [{ expression: "input.n" }]],
  ["a ${{ x }}${{y}} b", [{ text: "a " }, { expression: "x" }, { expression: "y" }, { text: " b" }]],
  ["${{ '}}' + \"}}\" }}!", [{ expression: "'}}' + \"}}\"" }, { text: "!" }]],
  ["${{ {'a': {'b': 1}} }}", [{ expression: "{'a': {'b': 1}}" }]],
  ["${{ 'it\\'s }}' }}", [{ expression: "'it\\'s }}'" }]],
  ['${{ """a"}}""" }}', [{ expression: '"""a"}}"""' }]],
  ["$HOME ${HOME} $${{ x }}", [{ text: "$HOME ${HOME} $" }, { expression: "x" }]],
  ['${{ "${{" }} x }}', [{ expression: '"${{"' }, { text: " x }}" }]],
  ["a }} b", [{ text: "a }} b" }]],
];
test.each(cases)("%s", (template, parts) => expect(splitTemplate(template)).toEqual(parts));

it("refuses an expression that does not end", () => {
  for (const template of ["${{ x", "${{ x }", "${{ 'x }}", "${{ {'a': 1 }}", "${{ \\"]) {
    expect(() => splitTemplate(template)).toThrow("begins an expression that no }} ends");
  }
});

it("reads a long text of nothing but beginnings in one pass", () => {
  expect(() => splitTemplate("${{".repeat(80_000))).toThrow("no }} ends");
  expect(splitTemplate("${{ x }}".repeat(30_000))).toHaveLength(30_000);
});
