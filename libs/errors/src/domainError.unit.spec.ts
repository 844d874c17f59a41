import { expect, test } from "vitest";
import { DomainError, invalid, notFound } from "./domainError.ts";

test("a refusal without details has empty ones, not missing ones", () => {
  const error = new DomainError({ code: "ABORTED", reason: "JOB_CHANGED", message: "job changed since it was read" });
  expect(error).toBeInstanceOf(Error);
  expect(error).toMatchObject({ name: "DomainError", fields: [], metadata: {}, retryAfterMs: null, resource: null });
});

test("the message of an invalid request names every bad field", () => {
  const error = invalid([
    { field: "spec.image", description: "is required" },
    { field: "spec.retry.max_attempts", description: "must be 1 to 100" },
  ]);
  expect(error.code).toBe("INVALID_ARGUMENT");
  expect(error.message).toBe("spec.image: is required; spec.retry.max_attempts: must be 1 to 100");
});

test("not found names the thing and quotes what the caller wrote", () => {
  const error = notFound("job", "no\nsuch");
  expect(error).toMatchObject({
    code: "NOT_FOUND",
    reason: "JOB_NOT_FOUND",
    resource: { type: "job", name: "no\nsuch" },
  });
  expect(error.message).toBe('job "no\\nsuch" was not found');
});
