import { expect, it } from "vitest";
import { unread } from "./job.ts";
import { createPlans } from "./plans.ts";
import { tell } from "./workflowStory.ts";

function aStory(name: string) {
  const story = tell({ steps: [{ name: "a" }, { name: "b", dependsOn: ["a"] }] });
  return { plan: story.plan, job: { ...story.job(), id: name } };
}

it("what is remembered of a job is as it was with its last fact, whatever the order of the notes, and without results", () => {
  const plans = createPlans();
  const { plan, job } = aStory("j");
  plans.note([job]);
  expect(plans.stepsOf("j")).toBeUndefined();
  plans.add("j", plan, 100);
  const steps = job.steps.map((step) => ({ ...step, result: "large" }));
  plans.note([{ ...job, sequence: 3, steps }]);
  plans.note([{ ...job, sequence: 2 }]);
  expect(plans.stepsOf("j")?.sequence).toBe(3);
  expect(plans.stepsOf("j")?.steps.map(({ result }) => result)).toEqual([unread, unread]);
  plans.note([{ ...job, sequence: 4, state: "SUCCEEDED" }]);
  expect(plans.get("j")).toBeUndefined();
});

it("what was not used for longest gives way", () => {
  const plans = createPlans();
  const { plan } = aStory("j");
  for (const id of ["a", "b", "c"]) plans.add(id, plan, 10 * 1024 * 1024);
  plans.get("a");
  plans.add("d", plan, 10 * 1024 * 1024);
  expect(["a", "b", "c", "d"].filter((id) => plans.get(id) !== undefined)).toEqual(["a", "c", "d"]);
  plans.keepItems("d", new Map([["each", ["x".repeat(5 * 1024 * 1024)]]]));
  expect(["a", "c", "d"].filter((id) => plans.get(id) !== undefined)).toEqual(["c", "d"]);
});
