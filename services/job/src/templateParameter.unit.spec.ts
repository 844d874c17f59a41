import { TemplateParameter } from "@capstan/proto/capstan/job/v1/template.ts";
import fc from "fast-check";
import { expect, test } from "vitest";
import { checkParameters, fillParameters } from "./templateParameter.ts";

type Part = Partial<TemplateParameter>;
const parameter = (part: Part): TemplateParameter => ({ ...TemplateParameter.fromPartial({ name: "p" }), ...part });

function problemsOf(...parts: readonly Part[]): readonly string[] {
  const problems: string[] = [];
  checkParameters(parts.map(parameter), (field, description) => problems.push(`${field} ${description}`));
  return problems;
}

function fill(parts: readonly Part[], given: Record<string, unknown>) {
  const problems: string[] = [];
  const input = fillParameters(parts.map(parameter), given, (field, text) => problems.push(`${field} ${text}`));
  return { input, problems };
}

test.each<[string, Part, string]>([
  ["a name in capitals", { name: "Name" }, "[0].name must match"],
  ["the name that schedules use", { name: "schedule" }, "[0].name is kept for"],
  [
    "a default of what is required",
    { required: true, defaultValue: "a" },
    "[0].default_value cannot be given together",
  ],
  ["a default of another type", { type: "PARAMETER_TYPE_INTEGER", defaultValue: 1.5 }, "must be a whole number"],
  ["a default out of bounds", { type: "PARAMETER_TYPE_NUMBER", max: 3, defaultValue: 4 }, "must be at most 3"],
  [
    "a default that is a secret",
    { type: "PARAMETER_TYPE_SECRET", defaultValue: "secret:a" },
    "cannot be given for a secret",
  ],
  ["bounds that cross", { type: "PARAMETER_TYPE_NUMBER", min: 3, max: 2 }, "[0].max is 2"],
  ["bounds of a boolean", { type: "PARAMETER_TYPE_BOOLEAN", min: 1 }, "[0].min needs type"],
  ["a length that is no whole number", { min: 0.5 }, "[0].min is 0.5"],
  ["a choice without choices", { type: "PARAMETER_TYPE_CHOICE" }, "[0].choices has 0 choices"],
  ["a choice twice", { type: "PARAMETER_TYPE_CHOICE", choices: ["a", "a"] }, "[0].choices has a choice twice"],
  ["choices of a string", { choices: ["a"] }, "[0].choices needs type CHOICE"],
  [
    "a list of lists",
    { type: "PARAMETER_TYPE_LIST", itemType: "PARAMETER_TYPE_LIST" },
    "[0].item_type must not be LIST",
  ],
  ["items of a string", { itemType: "PARAMETER_TYPE_STRING" }, "[0].item_type needs type LIST"],
  ["a pattern that is none", { pattern: "(" }, "[0].pattern is not a pattern in RE2 syntax"],
  ["a pattern that looks back", { pattern: "(a)\\1" }, "[0].pattern is not a pattern in RE2 syntax"],
  ["a pattern that is too large", { pattern: "(a{1,30}b?){30}" }, "[0].pattern has more than 256 instructions"],
  ["a pattern of a number", { type: "PARAMETER_TYPE_NUMBER", pattern: "a" }, "[0].pattern needs type STRING"],
])("a definition with %s is refused", (_, part, problem) => {
  expect(problemsOf(part).join("\n")).toContain(problem);
});

test("two parameters of one name, and 65 of them, are refused", () => {
  expect(problemsOf({ name: "a" }, { name: "a" })).toEqual(['[1].name is that of another parameter: "a"']);
  expect(problemsOf(...Array.from({ length: 65 }, (_, n) => ({ name: `p${n}` })))).toHaveLength(1);
});

test("what is not given is its default, or null", () => {
  const parts = [{ name: "a", defaultValue: "x" }, { name: "b" }, { name: "c", defaultValue: 0 }] as const;
  const numbers = parts.map((part) => (part.name === "c" ? { ...part, type: "PARAMETER_TYPE_NUMBER" as const } : part));
  expect(fill(numbers, {})).toEqual({ input: { a: "x", b: null, c: 0 }, problems: [] });
  expect(fill(numbers, { a: null, b: "y", c: 7 })).toEqual({ input: { a: "x", b: "y", c: 7 }, problems: [] });
});

test("every problem of the values is told at once, by name", () => {
  const parts: readonly Part[] = [
    { name: "size", type: "PARAMETER_TYPE_INTEGER", min: 1, max: 10 },
    { name: "region", type: "PARAMETER_TYPE_CHOICE", choices: ["eu", "us"] },
    { name: "name", required: true },
    { name: "days", type: "PARAMETER_TYPE_LIST", itemType: "PARAMETER_TYPE_INTEGER", max: 2 },
    { name: "key", type: "PARAMETER_TYPE_SECRET" },
    { name: "dry", type: "PARAMETER_TYPE_BOOLEAN" },
    { name: "host", pattern: "[a-z]+" },
  ];
  const given = { size: 11, region: "asia", days: [1, "two", 3], key: "hunter2", dry: "yes", host: "a b", other: 1 };
  expect(fill(parts, given).problems).toEqual([
    "other is no parameter of the template",
    "size is 11; it must be at most 10",
    'region must be one of: "eu", "us"',
    "name is required",
    "days has 3 items; the limit is 2",
    "days[1] is a string; it must be a number",
    expect.stringContaining("key must name a secret"),
    "dry is a string; it must be true or false",
    "host must match [a-z]+",
  ]);
});

test("a pattern holds from the first to the last character, and a secret is only named", () => {
  const host = { pattern: "[a-z]+" };
  expect(fill([host], { p: "abc" }).problems).toEqual([]);
  for (const text of ["abc!", "!abc", "abc\n", "ab\ncd", ""])
    expect(fill([host], { p: text }).problems).toHaveLength(1);
  const secret = { type: "PARAMETER_TYPE_SECRET" } as const;
  expect(fill([secret], { p: "secret:db/password" })).toEqual({ input: { p: "secret:db/password" }, problems: [] });
});

test("a pattern that explodes elsewhere takes no time here", () => {
  const before = performance.now();
  expect(fill([{ pattern: "(a+)+b" }], { p: "a".repeat(4_096) }).problems).toHaveLength(1);
  expect(fill([{ pattern: "(a|aa|aaa)*c" }], { p: "a".repeat(4_096) }).problems).toHaveLength(1);
  expect(performance.now() - before).toBeLessThan(2_000);
});

test("a pattern is not tried on a value that is too long for one", () => {
  expect(fill([{ pattern: ".*" }], { p: "a".repeat(4_097) }).problems).toEqual([
    "p has 4097 characters; the limit is 4096",
  ]);
});

test("names that objects have by nature are no parameters and need none", () => {
  for (const name of ["__proto__", "constructor", "toString"]) {
    const given = JSON.parse(`{"${name}": 1}`) as Record<string, unknown>;
    expect(fill([], given).problems).toHaveLength(1);
  }
  expect(fill([{ name: "constructor" }], {}).input).toEqual({ constructor: null });
});

test("a text that passes is in the input exactly as it was given", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme", maxLength: 200 }), (text) => {
      const { input, problems } = fill([{}], { p: text });
      if (problems.length === 0) expect(input["p"]).toBe(text);
      else expect(text.includes("\0") || !text.isWellFormed()).toBe(true);
    }),
  );
});
