import { expect, test } from "vitest";
import { exampleFact } from "../../../test/support/facts.ts";
import { factSubject } from "./subject.ts";

test("a subject tells tenant, context, noun, event and aggregate", () => {
  const fact = exampleFact({ aggregateId: "0191e0a0-0000-7000-8000-000000000001" });
  expect(factSubject("job", fact)).toBe("capstan.v1.default.job.job.submitted.0191e0a0-0000-7000-8000-000000000001");
});

test.each(["*", ">", "a.b", "", "a b", "A", "ü", "a\r\nPUB x 0"])("%j is no token of a subject", (tenant) => {
  expect(() => factSubject("job", exampleFact({ tenant }))).toThrow(/cannot be a token/);
});
