import { expect, test } from "vitest";
import { jobFileLines } from "./jobFileLines.ts";

const content = `# a comment
name: first
steps:
  - name: build
    command: [sh, -c,
      exit]
  - name: test
    depends_on:
      - build
    env:
      "A B": x
---
- name: second
  steps: [{ command: [a] }]
- name: third
  steps:
    - dependsOn: [x]
`;

test("a field is found at its line, in either spelling, in each job of a file", () => {
  const [first, second, third, ...others] = jobFileLines(content);
  expect(others).toEqual([]);
  expect(first?.("name")).toBe(2);
  expect(first?.("steps[0].command[2]")).toBe(6);
  expect(first?.("steps[1].depends_on[0]")).toBe(9);
  expect(first?.('steps[1].env["A B"]')).toBe(11);
  expect(second?.("steps[0].command")).toBe(14);
  expect(third?.("steps[0].depends_on[0]")).toBe(17);
});

test("what does not stand in the file is told at what is around it", () => {
  const [first] = jobFileLines(content);
  expect(first?.("steps[1].handler")).toBe(7);
  expect(first?.("steps[1].depends_on[4]")).toBe(8);
  expect(first?.("priority")).toBe(2);
  expect(first?.("")).toBe(2);
});

test("JSON has lines too, and a list of nothing has no jobs", () => {
  expect(jobFileLines('{\n  "name": "x",\n  "steps": []\n}').map((lineOf) => lineOf("steps"))).toEqual([3]);
  expect(jobFileLines("")).toEqual([]);
  expect(jobFileLines("---\n")).toEqual([]);
});
