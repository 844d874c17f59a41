import { DomainError, invalid } from "@capstan/errors";
import { CommanderError } from "commander";
import { expect, test } from "vitest";
import { ExitError, explainFailure, UnreachableError, UsageError } from "./failure.ts";

test("a refusal of fields names its reason and every field once", () => {
  const error = invalid([
    { field: "spec.name", description: "must not be empty" },
    { field: "spec.steps[0].image", description: "is over the limit of 1,024" },
  ]);
  expect(explainFailure(error)).toEqual({
    exitCode: 1,
    lines: [
      "capstan: refused: INVALID_FIELDS",
      "  spec.name: must not be empty",
      "  spec.steps[0].image: is over the limit of 1,024",
    ],
  });
});

test("any other refusal gives its reason and its message", () => {
  const error = new DomainError({ code: "NOT_FOUND", reason: "JOB_NOT_FOUND", message: 'job "x" was not found' });
  expect(explainFailure(error)).toEqual({
    exitCode: 1,
    lines: ['capstan: refused: JOB_NOT_FOUND: job "x" was not found'],
  });
});

test("what others wrote cannot act on the terminal", () => {
  const error = new DomainError({ code: "ABORTED", reason: "X", message: "\u001b[2Jgone\nfake line" });
  expect(explainFailure(error).lines).toEqual(["capstan: refused: X: \\u001b[2Jgone\\nfake line"]);
});

test("a usage error lists its details and ends with 2, an unreachable platform with 3", () => {
  expect(explainFailure(new UsageError("bad file", ["a", "b"]))).toEqual({
    exitCode: 2,
    lines: ["capstan: bad file", "  a", "  b"],
  });
  expect(explainFailure(new UnreachableError("cannot reach it"))).toEqual({
    exitCode: 3,
    lines: ["capstan: cannot reach it"],
  });
});

test("commander has printed its own errors; help is none", () => {
  expect(explainFailure(new CommanderError(1, "commander.unknownOption", "x"))).toEqual({ exitCode: 2, lines: [] });
  expect(explainFailure(new CommanderError(0, "commander.helpDisplayed", "x"))).toEqual({ exitCode: 0, lines: [] });
});

test("a reader that is gone is no failure", () => {
  expect(explainFailure(Object.assign(new Error("write EPIPE"), { code: "EPIPE" }))).toEqual({
    exitCode: 0,
    lines: [],
  });
});

test("an exit code of a workload is passed on without a word", () => {
  expect(explainFailure(new ExitError(42))).toEqual({ exitCode: 42, lines: [] });
});

test("a defect of ours shows where it is", () => {
  const { exitCode, lines } = explainFailure(new TypeError("x is not a function"));
  expect(exitCode).toBe(1);
  expect(lines[0]).toBe("capstan: unexpected error");
  expect(lines.join("\n")).toContain("failure.unit.spec.ts");
});
