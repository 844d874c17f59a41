/** docs/workflows.md shows the example files as they are, and every job on it but the one that is wrong is accepted. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parseJobFile } from "../libs/cli/src/jobFile.ts";
import { jobFileLines } from "../libs/cli/src/jobFileLines.ts";
import { checkSpec } from "../services/job/src/jobSpec.ts";
import { workflowExamples } from "./support/workflowExamples.ts";

const examples = workflowExamples();

test("the page has its examples", () => {
  expect(examples.map(({ name }) => name)).toEqual(["ci", "map-reduce", "approval", "saga", "values", "wrong"]);
});

test.each(examples)("$name is what the page says", ({ name, yaml, prints, file }) => {
  if (file !== "") expect(readFileSync(new URL(`../examples/${file}`, import.meta.url), "utf8")).toBe(yaml);
  const [spec] = parseJobFile(yaml, name);
  const problems = checkSpec(spec, "spec", new Date());
  if (name !== "wrong") return expect(problems).toEqual([]);
  const [lineOf] = jobFileLines(yaml);
  const told = problems.map(({ field, description }) => {
    const path = field.replace("spec.", "");
    return { line: lineOf?.(path) ?? 0, text: `${path} ${description}` };
  });
  const sorted = told.toSorted((left, right) => left.line - right.line);
  expect(sorted.map(({ line, text }) => `wrong.yaml:${line}: ${text}\n`).join("")).toBe(prints);
});
