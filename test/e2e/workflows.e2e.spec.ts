/** Jobs of several steps on the whole platform: what runs, in which order, and what becomes of the rest. */

import type { Job } from "@capstan/proto/capstan/job/v1/job.ts";
import { SubmitJobRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { type JobPart, type StepPart, seconds, sh } from "../support/jobs.ts";
import { usePlatform } from "../support/usePlatform.ts";

const platform = usePlatform();
const ends = ["JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_TIMED_OUT"];

async function submit(steps: readonly StepPart[], job: JobPart = {}): Promise<string> {
  const spec = { name: "workflow", ...job, steps };
  const { jobs } = platform().capstan;
  const request = SubmitJobRequest.fromPartial({ spec } as Parameters<typeof SubmitJobRequest.fromPartial>[0]);
  return (await jobs.submitJob(request)).job?.id ?? "";
}

async function endOf(jobId: string): Promise<Job> {
  const { job } = await platform().capstan.jobs.waitJob({ jobId, timeout: seconds(25) });
  if (job === undefined || !ends.includes(job.state)) throw new Error(`job ${jobId} is ${job?.state}`);
  return job;
}

function statesOf({ steps }: Job): Record<string, string> {
  return Object.fromEntries(steps.map(({ name, state }) => [name, state.slice("STEP_STATE_".length)]));
}

/** Names of steps that ran, in the order in which they began. */
function orderOf({ steps }: Job): readonly string[] {
  const ran = steps.flatMap(({ name, startTime }) =>
    startTime === undefined ? [] : [{ name, at: startTime.getTime() }],
  );
  return ran.toSorted((a, b) => a.at - b.at).map(({ name }) => name);
}

const giveBack = (json: string) => ({ command: ["echo", `CAPSTAN_OUTPUT=${json}`] });

test("a diamond of processes hands its results on", async () => {
  const id = await submit([
    { name: "a", ...giveBack("7") },
    { name: "b", dependsOn: ["a"], ...giveBack("${{ steps.a.result + 1 }}") },
    { name: "c", dependsOn: ["a"], ...giveBack("${{ steps.a.result + 2 }}") },
    { name: "d", dependsOn: ["b", "c"], ...giveBack('{"b":${{ steps.b.result }},"c":${{ steps.c.result }}}') },
  ]);
  const job = await endOf(id);
  expect(job).toMatchObject({ state: "JOB_STATE_SUCCEEDED", result: { b: 8, c: 9 } });
  expect(orderOf(job)[0]).toBe("a");
  expect(orderOf(job)[3]).toBe("d");
});

test("a branch that fails leaves the others alone, and what hangs on it is skipped", async () => {
  const id = await submit([
    { name: "bad", ...sh("exit 3") },
    { name: "after-bad", dependsOn: ["bad"], ...sh("true") },
    { name: "good", ...sh("true") },
    { name: "after-good", dependsOn: ["good"], ...sh("true") },
    { name: "tolerated", continueOnFailure: true, ...sh("exit 1") },
    { name: "after-tolerated", dependsOn: ["tolerated"], ...sh("true") },
  ]);
  const job = await endOf(id);
  expect(job).toMatchObject({ state: "JOB_STATE_FAILED", reason: "REASON_EXIT_CODE" });
  expect(statesOf(job)).toEqual({
    bad: "FAILED",
    "after-bad": "SKIPPED",
    good: "SUCCEEDED",
    "after-good": "SUCCEEDED",
    tolerated: "FAILED",
    "after-tolerated": "SUCCEEDED",
  });
});

test("items run side by side, never more than may, and their results come in order", async () => {
  const { capstan } = platform();
  let running = 0;
  let most = 0;
  const square = async (input: { readonly of: number }) => {
    running += 1;
    most = Math.max(most, running);
    await new Promise((resolve) => setTimeout(resolve, 5));
    running -= 1;
    return input.of ** 2;
  };
  const worker = await capstan.worker({ pool: "squares", slots: 50, handlers: { square } });
  const items = Array.from({ length: 40 }, (_, index) => index);
  const id = await submit(
    [
      {
        name: "each",
        handler: "square",
        placement: { provider: "squares" },
        input: { of: "${{ item }}" },
        forEach: { expression: "input.items", maxParallel: 4 },
      },
    ],
    { input: { items } },
  );
  const job = await endOf(id);
  expect(job).toMatchObject({ state: "JOB_STATE_SUCCEEDED", result: items.map((item) => item ** 2) });
  expect(job.steps[0]?.items).toMatchObject({ total: 40, succeeded: 40 });
  expect(most).toBeGreaterThan(1);
  expect(most).toBeLessThanOrEqual(4);
  await worker.stop();
});

const trip: readonly StepPart[] = [
  { name: "flight", compensate: "undo-flight", ...giveBack('"F1"') },
  { name: "hotel", dependsOn: ["flight"], compensate: "undo-hotel", ...sh("true") },
  { name: "undo-flight", ...giveBack('"${{ steps.flight.result }} is free"') },
  { name: "undo-hotel", ...sh("true") },
  { name: "thank", ...sh("true") },
  { name: "apologise", ...giveBack('"${{ job.outcome }}"') },
  { name: "note", ...sh("true") },
];
const hooks: JobPart = { onSuccess: ["thank"], onFailure: ["apologise"], onCancel: ["note"] };

test("a job that fails undoes what was done in reverse and then says so, and ends only after that", async () => {
  const id = await submit([...trip, { name: "car", dependsOn: ["hotel"], ...sh("exit 1") }], hooks);
  const job = await endOf(id);
  expect(job).toMatchObject({ state: "JOB_STATE_FAILED", reason: "REASON_EXIT_CODE" });
  expect(orderOf(job)).toEqual(["flight", "hotel", "car", "undo-hotel", "undo-flight", "apologise"]);
  const resultOf = (name: string) => job.steps.find((step) => step.name === name)?.result;
  expect([resultOf("undo-flight"), resultOf("apologise")]).toEqual(["F1 is free", "FAILED"]);
  expect(statesOf(job)).toMatchObject({ thank: "SKIPPED", note: "SKIPPED" });
});

test("a cancel stops what runs, and not what undoes it, also when services are killed meanwhile", async () => {
  const { capstan, services } = platform();
  const id = await submit([...trip, { name: "car", dependsOn: ["hotel"], ...sh("sleep 60") }], hooks);
  await eventually(async () => {
    const { job } = await capstan.jobs.getJob({ jobId: id });
    expect(job?.steps.find(({ name }) => name === "car")?.state).toBe("STEP_STATE_RUNNING");
  });
  await capstan.jobs.cancelJob({ jobId: id, message: "enough" });
  await Promise.all([services.orchestrator.restart("SIGKILL"), services.job.restart("SIGKILL")]);
  const job = await endOf(id);
  expect(job).toMatchObject({ state: "JOB_STATE_CANCELLED", message: "enough" });
  expect(orderOf(job)).toEqual(["flight", "hotel", "car", "undo-hotel", "undo-flight", "note"]);
  expect(statesOf(job)).toMatchObject({ car: "CANCELLED", "undo-hotel": "SUCCEEDED", "undo-flight": "SUCCEEDED" });
});

test("a job past its deadline undoes what was done and has timed out", async () => {
  const id = await submit([...trip, { name: "car", dependsOn: ["hotel"], ...sh("sleep 60") }], {
    ...hooks,
    timeout: seconds(3),
  });
  const job = await endOf(id);
  expect(job).toMatchObject({ state: "JOB_STATE_TIMED_OUT", reason: "REASON_JOB_TIMEOUT" });
  expect(statesOf(job)).toMatchObject({
    "undo-hotel": "SUCCEEDED",
    "undo-flight": "SUCCEEDED",
    apologise: "SUCCEEDED",
  });
});

test("a step is tried again by its own policy, and the job goes on when it succeeds", async () => {
  const { capstan } = platform();
  let calls = 0;
  const flaky = () => {
    calls += 1;
    if (calls < 3) throw new Error("not yet");
    return calls;
  };
  const worker = await capstan.worker({ pool: "flaky", slots: 2, handlers: { flaky } });
  const id = await submit([
    { name: "flaky", handler: "flaky", retry: { maxAttempts: 3, initialBackoff: seconds(0.05) } },
    { name: "next", dependsOn: ["flaky"], ...giveBack("${{ steps.flaky.result }}") },
  ]);
  expect(await endOf(id)).toMatchObject({ state: "JOB_STATE_SUCCEEDED", result: 3 });
  await worker.stop();
});
