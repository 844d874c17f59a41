/** Steps that wait for people, signals, times and other jobs, and jobs that are paused or run again, on the whole platform. */
import type { Job } from "@capstan/proto/capstan/job/v1/job.ts";
import { SubmitJobRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { CreateTemplateRequest } from "@capstan/proto/capstan/job/v1/template_service.ts";
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { getJob, type JobPart, type StepPart, seconds, sh, untilEnded } from "../support/jobs.ts";
import { usePlatform } from "../support/usePlatform.ts";

const platform = usePlatform();

async function submit(steps: readonly StepPart[], job: JobPart = {}): Promise<Job> {
  const spec = { name: "waiting", ...job, steps };
  const request = SubmitJobRequest.fromPartial({ spec } as Parameters<typeof SubmitJobRequest.fromPartial>[0]);
  const { job: accepted } = await platform().capstan.jobs.submitJob(request);
  if (accepted === undefined) throw new Error("no job");
  return accepted;
}

const endOf = (job: Job) => untilEnded(platform().capstan, job);

function stepOf(job: Job, name: string) {
  const step = job.steps.find((candidate) => candidate.name === name);
  if (step === undefined) throw new Error(`there is no step ${name}`);
  return step;
}

function untilStep(job: Job, name: string, state: string): Promise<Job> {
  return eventually(async () => {
    const now = await getJob(platform().capstan, job.id);
    expect(stepOf(now, name).state).toBe(`STEP_STATE_${state}`);
    return now;
  });
}

function decide(job: Job, by: string, decision: "APPROVE" | "REJECT" = "APPROVE") {
  const request = { jobId: job.id, step: "ask", note: "", fields: { to: by }, by } as const;
  return platform().capstan.jobs.decideApproval({ ...request, decision: `APPROVAL_DECISION_${decision}` });
}

const giveBack = (json: string) => ({ command: ["echo", `CAPSTAN_OUTPUT=${json}`] });

test("a job waits for an approval and goes on with what was decided; nobody decides twice", async () => {
  const job = await submit([
    { name: "build", ...giveBack('"1.4.2"') },
    { name: "ask", dependsOn: ["build"], approval: { message: "deploy ${{ steps.build.result }}?" } },
    { name: "deploy", dependsOn: ["ask"], ...giveBack('"${{ steps.ask.result.fields.to }}"') },
  ]);
  const asked = await untilStep(job, "ask", "SUSPENDED");
  expect(stepOf(asked, "ask")).toMatchObject({ reason: "REASON_APPROVAL", message: "deploy 1.4.2?" });
  await decide(job, "ada");
  await decide(job, "ada");
  await expect(decide(job, "bob")).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "ALREADY_DECIDED" });
  await expect(decide(job, "ada", "REJECT")).rejects.toThrow(/was approved by ada at /);
  expect(await endOf(job)).toMatchObject({ state: "JOB_STATE_SUCCEEDED", result: "ada" });
});

test("an approval that nobody gives in time fails its job, unless its timeout says otherwise", async () => {
  const timeout = seconds(1);
  const fails = await submit([{ name: "ask", approval: { timeout } }]);
  const skips = await submit([
    { name: "ask", approval: { timeout, onTimeout: "TIMEOUT_OUTCOME_SKIP" } },
    { name: "b", ...sh("true") },
  ]);
  expect(await endOf(fails)).toMatchObject({ state: "JOB_STATE_TIMED_OUT", reason: "REASON_WAIT_TIMEOUT" });
  const skipped = await endOf(skips);
  expect(skipped.state).toBe("JOB_STATE_SUCCEEDED");
  expect(stepOf(skipped, "ask")).toMatchObject({ state: "STEP_STATE_SKIPPED", reason: "REASON_WAIT_TIMEOUT" });
});

test("a signal is taken when it comes, or was there before; one that nobody waits for is refused", async () => {
  const { jobs } = platform().capstan;
  const job = await submit([
    { name: "first", signal: { name: "first" } },
    { name: "second", dependsOn: ["first"], signal: { name: "second" } },
    { name: "use", dependsOn: ["second"], ...giveBack('"${{ steps.first.result }} ${{ steps.second.result }}"') },
  ]);
  const send = (name: string, payload: unknown) => jobs.sendSignal({ jobId: job.id, name, payload, requestId: "" });
  expect(await send("second", "early")).toMatchObject({ taken: false });
  await expect(send("third", 1)).rejects.toThrow(
    /never waits for signal third; it waits, or has waited, for: first, second/,
  );
  expect(await send("first", "now")).toMatchObject({ taken: true });
  expect(await endOf(job)).toMatchObject({ state: "JOB_STATE_SUCCEEDED", result: "now early" });
  await expect(send("first", 1)).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
});

test("a sleep is over at its time, although the service that counted it was killed", async () => {
  const { services } = platform();
  const job = await submit([
    { name: "nap", sleep: { duration: seconds(3) } },
    { name: "go", dependsOn: ["nap"], ...sh("true") },
  ]);
  const { dueTime } = stepOf(await untilStep(job, "nap", "SUSPENDED"), "nap");
  await services.job.kill("SIGKILL");
  await services.job.start();
  const ended = await eventually(() => endOf(job));
  expect(ended.state).toBe("JOB_STATE_SUCCEEDED");
  expect(stepOf(ended, "nap").endTime?.getTime()).toBeGreaterThanOrEqual(dueTime?.getTime() ?? Number.NaN);
});

async function publish(name: string, step: StepPart): Promise<void> {
  const { templates } = platform().capstan;
  const part = {
    name,
    spec: { parameters: [{ name: "seconds", type: "PARAMETER_TYPE_INTEGER" }], job: { name, steps: [step] } },
  };
  const request = CreateTemplateRequest.fromPartial(part as Parameters<typeof CreateTemplateRequest.fromPartial>[0]);
  const { template } = await templates.createTemplate(request);
  await templates.publishTemplate({ name, version: template?.version ?? 1, etag: "" });
}

test("a sub-job gives its result to its parent, and is cancelled with it while it runs", async () => {
  const { capstan } = platform();
  await publish("napper", {
    name: "main",
    ...sh('sleep "$0"; echo CAPSTAN_OUTPUT=$0', { args: ["${{ input.seconds }}"] }),
  });
  const sub = (amount: number) => ({
    name: "child",
    subJob: { template: { name: "napper", parameters: { seconds: amount } } },
  });
  expect(await endOf(await submit([sub(0)]))).toMatchObject({ state: "JOB_STATE_SUCCEEDED", result: 0 });

  const parent = await submit([sub(600)]);
  const childId = stepOf(await untilStep(parent, "child", "RUNNING"), "child").childJobId;
  await eventually(async () => expect((await getJob(capstan, childId)).state).toBe("JOB_STATE_RUNNING"));
  await capstan.jobs.cancelJob({ jobId: parent.id, message: "" });
  expect(await endOf(parent)).toMatchObject({ state: "JOB_STATE_CANCELLED" });
  expect(await getJob(capstan, childId)).toMatchObject({ state: "JOB_STATE_CANCELLED", reason: "REASON_PARENT_ENDED" });
});

test("a sub-job of a parent that times out ends with it", async () => {
  const template = { name: "napper", parameters: { seconds: 600 } };
  const parent = await submit([{ name: "child", subJob: { template } }], { timeout: seconds(2) });
  const ended = await endOf(parent);
  expect(ended).toMatchObject({ state: "JOB_STATE_TIMED_OUT", reason: "REASON_JOB_TIMEOUT" });
  const child = await getJob(platform().capstan, stepOf(ended, "child").childJobId);
  expect(["JOB_STATE_CANCELLED", "JOB_STATE_TIMED_OUT"]).toContain(child.state);
});

test("a paused job begins nothing, not even what waited for a place, and goes on when it is resumed", async () => {
  const { capstan } = platform();
  const hold = await submit([{ name: "hold", handler: "pausable", placement: { provider: "pausing" } }]);
  const job = await submit([
    { name: "a", handler: "pausable", placement: { provider: "pausing" } },
    { name: "b", dependsOn: ["a"], ...sh("true") },
  ]);
  await capstan.jobs.pauseJob({ jobId: job.id, message: "lunch" });
  const worker = await capstan.worker({ pool: "pausing", slots: 5, handlers: { pausable: async () => "done" } });
  expect(await endOf(hold)).toMatchObject({ state: "JOB_STATE_SUCCEEDED" });
  expect(await getJob(capstan, job.id)).toMatchObject({
    state: "JOB_STATE_PENDING",
    reason: "REASON_JOB_PAUSED",
    message: "lunch",
  });
  await capstan.jobs.resumeJob({ jobId: job.id });
  expect(await endOf(job)).toMatchObject({ state: "JOB_STATE_SUCCEEDED" });
  await worker.stop();
});

test("a retry from what failed runs only that and what hangs on it, with the results of the others", async () => {
  const { capstan } = platform();
  let isBroken = true;
  const ran: string[] = [];
  const work = async (input: { readonly name: string; readonly of?: unknown }) => {
    ran.push(input.name);
    if (input.name === "b" && isBroken) throw new Error("broken");
    return { name: input.name, of: input.of ?? null };
  };
  const worker = await capstan.worker({ pool: "retrying", slots: 5, handlers: { work } });
  const place = { handler: "work", placement: { provider: "retrying" } };
  const job = await submit([
    { name: "a", ...place, input: { name: "a" } },
    { name: "b", dependsOn: ["a"], ...place, input: { name: "b", of: "${{ steps.a.result.name }}" } },
    { name: "c", dependsOn: ["b"], ...place, input: { name: "c" } },
  ]);
  expect((await endOf(job)).state).toBe("JOB_STATE_FAILED");
  isBroken = false;
  const { job: retry } = await capstan.jobs.retryJob({ jobId: job.id, requestId: "", fromFailed: true });
  if (retry === undefined) throw new Error("no job");
  const ended = await endOf(retry);
  expect(ended).toMatchObject({ state: "JOB_STATE_SUCCEEDED", retryOf: job.id });
  expect(stepOf(ended, "a").result).toEqual({ name: "a", of: null });
  expect(stepOf(ended, "b").result).toEqual({ name: "b", of: "a" });
  expect(ran).toEqual(["a", "b", "b", "c"]);
  await worker.stop();
});

test("the handle of a job tells it what its steps wait for", async () => {
  const job = await submit([
    { name: "go", signal: { name: "go" } },
    { name: "ask", dependsOn: ["go"], approval: {} },
    { name: "end", dependsOn: ["ask"], ...giveBack('"${{ steps.go.result + steps.ask.result.fields.n }}"') },
  ]);
  const handle = platform().capstan.jobs.handle(job.id);
  expect((await handle.pause({ message: "wait" })).reason).toBe("REASON_JOB_PAUSED");
  expect(await handle.signal("go", 40, { requestId: "one" })).toBe(true);
  expect((await handle.resume()).reason).not.toBe("REASON_JOB_PAUSED");
  await handle.approve("ask", { by: "ada", fields: { n: 2 } });
  await expect(handle.reject("ask", { by: "ada" })).rejects.toThrow(/was approved by ada/);
  expect(await handle.result({ deadlineMs: 30_000 })).toBe("42");
});
