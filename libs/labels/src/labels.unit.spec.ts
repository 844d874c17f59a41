import { describe, expect, test } from "vitest";
import { constraintsOf, failingConstraint, type LabelConstraint, labelOf } from "./labels.ts";

const labels = { zone: "a", cores: "16", empty: "" };

describe("a constraint", () => {
  const passing: readonly LabelConstraint[] = [
    label("zone", "EQ", "a"),
    label("zone", "NE", "b"),
    label("none", "NE", "b"),
    label("zone", "IN", "b", "a"),
    label("zone", "NOT_IN", "b"),
    label("none", "NOT_IN", "b"),
    label("cores", "GT", "8"),
    label("cores", "LT", "32"),
  ];
  const failing: readonly LabelConstraint[] = [
    label("zone", "EQ", "b"),
    label("none", "EQ", ""),
    label("zone", "NE", "a"),
    label("none", "IN", "a"),
    label("zone", "NOT_IN", "a"),
    label("cores", "GT", "16"),
    label("empty", "LT", "1"),
    label("none", "LT", "1"),
    label("zone", "GT", "1"),
    label("cores", "GT", "many"),
    label("zone", "UNRECOGNIZED", "a"),
    label("constructor", "IN", "a"),
  ];
  test.each(passing)("$key $operator $values holds", (constraint) => {
    expect(failingConstraint([constraint], labels)).toBeNull();
  });
  test.each(failing)("$key $operator $values does not hold", (constraint) => {
    expect(failingConstraint([constraint], labels)).toBe(constraint);
  });
});

test("the first of several that does not hold is named, and no constraint holds for all", () => {
  const [good, bad, worse] = [label("zone", "EQ", "a"), label("zone", "EQ", "b"), label("none", "EQ", "b")];
  expect(failingConstraint([good, bad, worse], labels)).toBe(bad);
  expect(failingConstraint([], {})).toBeNull();
});

test("a label that is not there is told from what every object has", () => {
  expect(labelOf(labels, "empty")).toBe("");
  expect(labelOf(labels, "toString")).toBeNull();
});

test("the words of a spec's operators lose their prefix", () => {
  expect(constraintsOf([label("zone", "LABEL_OPERATOR_NOT_IN", "a")])).toEqual([label("zone", "NOT_IN", "a")]);
});

function label(key: string, operator: string, ...values: string[]): LabelConstraint {
  return { key, operator, values };
}
