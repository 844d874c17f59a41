/** The jobs of docs/workflows.md, submitted as they stand there, end as the page says. */
import type { Job } from "@capstan/proto/capstan/job/v1/job.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseJobFile } from "../../libs/cli/src/jobFile.ts";
import { eventually } from "../support/eventually.ts";
import { type Standalone, startStandalone } from "../support/startStandalone.ts";
import { outcomeOf, workflowExamples } from "../support/workflowExamples.ts";

let standalone: Standalone;

beforeAll(async () => {
  standalone = await startStandalone();
});
afterAll(() => standalone?.stop());

async function submit(name: string): Promise<string> {
  const example = workflowExamples().find((candidate) => candidate.name === name);
  const [spec] = parseJobFile(example?.yaml ?? "", name);
  if (spec === undefined) throw new Error(`the page has no job ${name}`);
  return (await standalone.capstan.jobs.submit({ spec })).id;
}

async function ended(jobId: string): Promise<Job> {
  const job = standalone.capstan.jobs.handle(jobId);
  await job.result().catch(() => {});
  return job.get();
}

function printed(name: string): string | undefined {
  return workflowExamples().find((candidate) => candidate.name === name)?.prints;
}

test.each(["ci", "map-reduce", "saga", "values"])("%s", async (name) => {
  expect(outcomeOf(await ended(await submit(name)))).toBe(printed(name));
});

test("approval", async () => {
  const jobId = await submit("approval");
  const { jobs } = standalone.capstan;
  await eventually(async () => {
    const { job } = await jobs.getJob({ jobId });
    expect(job?.steps.find(({ name }) => name === "ask")).toMatchObject({
      state: "STEP_STATE_SUSPENDED",
      message: expect.stringContaining("Deploy 1.4.2, 1024 bytes?"),
    });
  });
  const decision = "APPROVAL_DECISION_APPROVE" as const;
  await jobs.decideApproval({ jobId, step: "ask", decision, note: "go ahead", fields: undefined, by: "ada" });
  expect(outcomeOf(await ended(jobId))).toBe(printed("approval"));
});

test("the steps of the saga are undone last first", async () => {
  const job = await ended(await submit("saga"));
  const timeOf = (name: string) => job.steps.find((step) => step.name === name)?.startTime?.getTime() ?? 0;
  expect(timeOf("cancel-flight")).toBeLessThan(timeOf("cancel-hotel"));
  expect(timeOf("pay")).toBeLessThan(timeOf("cancel-flight"));
});
