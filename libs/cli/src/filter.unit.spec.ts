import { parseFilter } from "@capstan/grpc";
import { expect, test } from "vitest";
import { UsageError } from "./failure.ts";
import { buildFilter } from "./filter.ts";

const fields = {
  state: { type: "enum", values: ["FAILED", "TIMED_OUT"] },
  name: { type: "string" },
  labels: { type: "labels" },
} as const;

test("nothing given is no filter", () => {
  expect(buildFilter({ anyOf: { state: [] }, labels: {} })).toBe("");
});

test("a filter alone goes as it was typed, so that a refusal names its columns", () => {
  expect(buildFilter({ filter: 'name = "a" OR name = "b"', anyOf: { state: [] } })).toBe('name = "a" OR name = "b"');
});

test("parts are joined so that each holds as a whole", () => {
  const filter = buildFilter({
    filter: 'name = "a" OR name = "b"',
    anyOf: { state: ["FAILED", "TIMED_OUT"] },
    labels: { "team/a.b": 'say "hi" \\o/' },
  });
  expect(filter).toBe(
    '(name = "a" OR name = "b") AND (state = "FAILED" OR state = "TIMED_OUT") AND labels.team/a.b = "say \\"hi\\" \\\\o/"',
  );
  expect(parseFilter(filter, fields)).not.toBeNull();
});

test("a label's key cannot change what the filter means", () => {
  expect(() => buildFilter({ labels: { 'x = "1" OR name': "y" } })).toThrow(UsageError);
});
