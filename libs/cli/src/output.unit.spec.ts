import fc from "fast-check";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { toJson, toYaml } from "./output.ts";
import { hasUnsafeCharacters, visibleText } from "./visibleText.ts";

const nasty = {
  "k\u009b": "\u001b[31m\u009b2J\u202e\u2028\r\n\tx",
  list: ["\u0007", 1, null, true],
  plain: "two\nlines",
};

test.each([
  ["JSON", toJson(nasty), (text: string) => JSON.parse(text)],
  ["one-line JSON", toJson(nasty, { isCompact: true }), (text: string) => JSON.parse(text)],
  ["YAML", toYaml(nasty), (text: string) => parse(text)],
] as const)("%s holds nothing that a terminal acts on, and the same values", (_, text, read) => {
  expect(hasUnsafeCharacters(text.replaceAll("\n", ""))).toBe(false);
  expect(read(text)).toEqual(nasty);
});

test("any JSON value survives both formats", () => {
  fc.assert(
    fc.property(fc.jsonValue({ stringUnit: "binary" }), (value) => {
      const same = JSON.parse(JSON.stringify(value));
      expect(JSON.parse(toJson(value))).toEqual(same);
      expect(parse(toYaml(value))).toEqual(same);
    }),
  );
});

test("one-line JSON is one line", () => {
  expect(toJson(nasty, { isCompact: true }).trimEnd()).not.toContain("\n");
});

test("harmless text is printed as it is", () => {
  const text = 'Grüße, 日本 🚀 e\u0301 "x" \\ ~';
  expect(visibleText(text)).toBe(text);
});
