/** What is wrong with large messages; what else may be is in the spec of readRequest.ts. */
import { expect, test } from "vitest";
import { createJsonCheck } from "./checkJson.ts";
import { readContracts } from "./contracts.ts";

const { rpcs } = readContracts();
const check = createJsonCheck(rpcs);
const submitJob = rpcs.find(({ desc }) => desc.name === "SubmitJob")?.desc.input;
if (submitJob === undefined) throw new Error("there is no SubmitJob");

test("a request that is wrong in very many places is refused in no time, with the first of them", () => {
  const steps = Array.from({ length: 400_000 }, () => ({ a: 1 }));
  const startMs = performance.now();
  const [first, ...more] = check(submitJob, { spec: { name: "x", steps } });
  expect(performance.now() - startMs).toBeLessThan(10_000);
  expect(first).toEqual({ field: "spec.steps[0].a", description: "there is no such field" });
  expect(more).toEqual([{ field: "", description: expect.stringContaining("there may be more") }]);
});

test("of some hundreds of wrong places fifty are told and the others counted", () => {
  const steps = Array.from({ length: 600 }, () => ({ a: 1 }));
  const told = check(submitJob, { spec: { name: "x", steps } });
  expect(told).toHaveLength(51);
  expect(told.at(-1)).toEqual({ field: "", description: "and 550 more" });
});
