import { DomainError } from "@capstan/errors";
import { expect, test } from "vitest";
import { mask } from "./mask.ts";

const withCode = (code: string) => Object.assign(new Error(`select secret from "job".job at 10.0.0.7`), { code });

test.each([
  ["57014", "DEADLINE_EXCEEDED"],
  ["08006", "UNAVAILABLE"],
  ["57P01", "UNAVAILABLE"],
  ["53300", "RESOURCE_EXHAUSTED"],
  ["53100", "UNAVAILABLE"],
  ["40001", "ABORTED"],
  ["40P01", "ABORTED"],
  ["22021", "INVALID_ARGUMENT"],
  ["22P02", "INVALID_ARGUMENT"],
  ["ECONNREFUSED", "UNAVAILABLE"],
  ["ECONNRESET", "UNAVAILABLE"],
  ["23505", "INTERNAL"],
  ["42P01", "INTERNAL"],
])("an error with code %s is %s to the caller, who learns nothing of the inside", (code, expected) => {
  const error = mask(withCode(code));
  expect(error.code).toBe(expected);
  expect(error.message).not.toMatch(/secret|job|10\.0/);
});

test("a lost connection is known by its message or its cause too", () => {
  expect(mask(new Error("Connection terminated unexpectedly")).code).toBe("UNAVAILABLE");
  expect(mask(new Error("timeout exceeded when trying to connect")).code).toBe("UNAVAILABLE");
  expect(mask(new Error("publish failed", { cause: withCode("ECONNREFUSED") })).code).toBe("UNAVAILABLE");
});

test("a defect is an internal error and nothing more", () => {
  for (const thrown of [new TypeError("x is not a function"), "text", null, undefined, 7]) {
    expect(mask(thrown)).toMatchObject({ code: "INTERNAL", message: "internal error" });
  }
});

test("a refusal stands for itself", () => {
  const refusal = new DomainError({ code: "ABORTED", reason: "JOB_CHANGED", message: "job changed" });
  expect(mask(refusal)).toBe(refusal);
});
