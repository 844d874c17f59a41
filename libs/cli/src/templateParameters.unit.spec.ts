import { TemplateParameter } from "@capstan/proto/capstan/job/v1/template.ts";
import { expect, test } from "vitest";
import { parseTemplateName, readParameters } from "./templateParameters.ts";

test("a template is named with or without its version", () => {
  expect(parseTemplateName("report")).toEqual({ name: "report", version: 0 });
  expect(parseTemplateName("report@12")).toEqual({ name: "report", version: 12 });
  for (const text of ["", "@1", "report@", "report@one", "report@1@2", "report@-1"]) {
    expect(() => parseTemplateName(text)).toThrow("NAME or NAME@VERSION");
  }
});

test.each([
  ["STRING", "42", "42"],
  ["STRING", "", ""],
  ["NUMBER", "4.5", 4.5],
  ["INTEGER", "-3", -3],
  ["INTEGER", "", ""],
  ["INTEGER", "many", "many"],
  ["BOOLEAN", "true", true],
  ["BOOLEAN", "yes", "yes"],
  ["LIST", '["a", 1]', ["a", 1]],
  ["LIST", "a,b", "a,b"],
  ["SECRET", "secret:a", "secret:a"],
] as const)("a %s given as %j is %j", (type, text, expected) => {
  const parameter = { ...TemplateParameter.fromPartial({ name: "p" }), type: `PARAMETER_TYPE_${type}` as const };
  expect(readParameters([parameter], { p: text })).toEqual({ p: expected });
});

test("what is no parameter stays text, for the platform to refuse", () => {
  expect(readParameters([], { p: "1" })).toEqual({ p: "1" });
});
