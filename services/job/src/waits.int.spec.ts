/** Steps that wait, in the true store with two replicas: what is kept, told and refused. */
import type { Job } from "@capstan/proto/capstan/job/v1/job.ts";
import {
  DecideApprovalRequest,
  SendSignalRequest,
  SubmitJobRequest,
} from "@capstan/proto/capstan/job/v1/job_service.ts";
import { CreateTemplateRequest } from "@capstan/proto/capstan/job/v1/template_service.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, queryOnce, type TestDatabase } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { getJob, type JobPart, type StepPart, seconds, untilEnded } from "../../../test/support/jobs.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { factsOf, report, reportOf, startTestService, type TestService } from "./startTestService.ts";

let database: TestDatabase;
let nats: TestNats;
let first: TestService;
let second: TestService;

beforeAll(async () => {
  [database, nats] = await Promise.all([createTestDatabase("job"), startTestNats()]);
  [first, second] = await Promise.all([startTestService(database, nats.url), startTestService(database, nats.url)]);
});

afterAll(async () => {
  await Promise.all([first.end("SIGTERM"), second.end("SIGTERM")]);
  await Promise.all([database.drop(), nats.release()]);
});

type Steps = readonly (StepPart & { readonly name: string })[];

async function submitSteps(steps: Steps, job: JobPart = {}): Promise<Job> {
  const part = { spec: { name: "waits", ...job, steps } };
  const request = SubmitJobRequest.fromPartial(part as Parameters<typeof SubmitJobRequest.fromPartial>[0]);
  const answer = await first.jobs.submitJob(request);
  if (answer.job === undefined) throw new Error("no job");
  return answer.job;
}

const step = (job: Job, name: string) => job.steps.find((each) => each.name === name);

function decide(service: TestService, job: Job, more: Partial<DecideApprovalRequest> = {}) {
  const plain = { jobId: job.id, step: "ask", decision: "APPROVAL_DECISION_APPROVE", by: "ada" } as const;
  return service.jobs.decideApproval(DecideApprovalRequest.fromPartial({ ...plain, ...more }));
}

function send(service: TestService, job: Job, name: string, more: Partial<SendSignalRequest> = {}) {
  return service.jobs.sendSignal(SendSignalRequest.fromPartial({ jobId: job.id, name, ...more }));
}

test("an approval is found by what it waits for, decided once by whoever is first, and told in facts", async () => {
  const job = await submitSteps([
    { name: "ask", approval: { message: "go?" } },
    { name: "go", handler: "work", dependsOn: ["ask"] },
  ]);
  expect(step(job, "ask")).toMatchObject({ state: "STEP_STATE_SUSPENDED", reason: "REASON_APPROVAL", message: "go?" });
  const filter = "waits_for = APPROVAL AND state = RUNNING";
  const { jobs } = await second.jobs.listJobs({ filter, pageSize: 0, pageToken: "", orderBy: "" });
  expect(jobs.map(({ id }) => id)).toContain(job.id);
  const decisions = await Promise.allSettled([
    decide(first, job, { by: "ada", note: "fine", fields: { when: "now" } }),
    decide(second, job, { by: "bob", decision: "APPROVAL_DECISION_REJECT" }),
  ]);
  expect(decisions.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  const refused = decisions.find((each) => each.status === "rejected");
  expect(refused?.reason).toMatchObject({ code: "FAILED_PRECONDITION", reason: "ALREADY_DECIDED" });
  expect((await factsOf(database, job.id)).slice(0, 2)).toEqual(["job.submitted", "job.started"]);
  const after = await second.jobs.listJobs({ filter, pageSize: 0, pageToken: "", orderBy: "" });
  expect(after.jobs.map(({ id }) => id)).not.toContain(job.id);
});

test("the same decision of the same person again is a repetition, on another replica too", async () => {
  const job = await submitSteps([
    { name: "ask", approval: {} },
    { name: "go", handler: "work", dependsOn: ["ask"] },
  ]);
  const decided = await decide(first, job, { note: "fine", fields: { n: 1 } });
  expect(step(decided.job ?? job, "ask")?.result).toMatchObject({
    decision: "APPROVE",
    note: "fine",
    fields: { n: 1 },
    by: "ada",
  });
  const again = await decide(second, job, { note: "still fine" });
  expect(again.job?.sequence).toBe(decided.job?.sequence);
  await expect(decide(second, job, { by: "bob" })).rejects.toThrow(/was approved by ada at /);
});

test("a bad decision is told with every field", async () => {
  const job = await submitSteps([{ name: "ask", approval: {} }]);
  const bad = {
    step: "",
    decision: "APPROVAL_DECISION_UNSPECIFIED",
    note: "x".repeat(1_025),
    by: "",
    fields: { x: "y".repeat(70_000) },
  } as const;
  await expect(decide(first, job, bad)).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
    fields: ["step", "decision", "note", "by", "fields"].map((field) => expect.objectContaining({ field })),
  });
  await expect(decide(first, job, { step: "nobody" })).rejects.toMatchObject({ code: "NOT_FOUND" });
});

test("an approval that nobody decides ends by its timeout", async () => {
  const approval = { timeout: seconds(1), onTimeout: "TIMEOUT_OUTCOME_SUCCEED" } as const;
  const job = await submitSteps([{ name: "ask", approval }]);
  const ended = await untilEnded(first, job);
  expect(ended).toMatchObject({ state: "JOB_STATE_SUCCEEDED", result: { decision: "APPROVE", by: "" } });
  expect(step(ended, "ask")?.reason).toBe("REASON_WAIT_TIMEOUT");
});

test("signals that come before are kept, taken in order, and each counts once", async () => {
  const job = await submitSteps([
    { name: "build", handler: "work" },
    { name: "each", dependsOn: ["build"], signal: { name: "go" }, forEach: { items: [1, 2] } },
  ]);
  expect(await send(first, job, "go", { payload: "a", requestId: "1" })).toMatchObject({ taken: false });
  expect(await send(second, job, "go", { payload: "a", requestId: "1" })).toMatchObject({ taken: false });
  await report(first, reportOf(job.id, "SUCCEEDED", { step: "build" }));
  expect(await send(second, job, "go", { payload: { b: 1 }, requestId: "2" })).toMatchObject({ taken: true });
  expect(await getJob(first, job.id)).toMatchObject({ state: "JOB_STATE_SUCCEEDED", result: ["a", { b: 1 }] });
  expect(await send(first, job, "go", { payload: { b: 1 }, requestId: "2" })).toMatchObject({ taken: true });
  await expect(send(first, job, "stop", { requestId: "2" })).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
  await expect(send(first, job, "go", { requestId: "3" })).rejects.toThrow(/is SUCCEEDED; it takes no more signals/);
});

test("a signal nobody waits for is refused, and not kept", async () => {
  const job = await submitSteps([
    { name: "a", handler: "work" },
    { name: "go", dependsOn: ["a"], signal: { name: "go" } },
  ]);
  await expect(send(first, job, "stop")).rejects.toMatchObject({
    code: "FAILED_PRECONDITION",
    message: expect.stringContaining(": go"),
  });
  await expect(send(first, job, "")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  const rows = await queryOnce(database.adminUrl, "select from job.signal where job_id = $1", [job.id]);
  expect(rows).toHaveLength(0);
});

test("many signals at once are each taken by one step", async () => {
  const count = 20;
  const items = Array.from({ length: count }, (_, index) => index);
  const job = await submitSteps([{ name: "each", signal: { name: "go" }, forEach: { items } }]);
  const services = [first, second];
  const sent = await Promise.all(items.map((payload) => send(services[payload % 2] ?? first, job, "go", { payload })));
  expect(sent.every(({ taken }) => taken)).toBe(true);
  const { result } = await getJob(first, job.id);
  expect((result as number[]).toSorted((a, b) => a - b)).toEqual(items);
});

test("a sleep survives the end of the service that began it", async () => {
  const third = await startTestService(database, nats.url);
  const part = { spec: { name: "nap", steps: [{ name: "nap", sleep: { duration: seconds(1.5) } }] } };
  const { job } = await third.jobs.submitJob(SubmitJobRequest.fromPartial(part));
  await third.end("SIGKILL");
  expect(job?.steps[0]).toMatchObject({ state: "STEP_STATE_SUSPENDED", reason: "REASON_SLEEPING" });
  expect(await untilEnded(first, job as Job)).toMatchObject({ state: "JOB_STATE_SUCCEEDED" });
});

async function publish(name: string, job: JobPart & { readonly steps: Steps }): Promise<void> {
  const part = { name, spec: { job: { name, ...job } } };
  const request = CreateTemplateRequest.fromPartial(part as Parameters<typeof CreateTemplateRequest.fromPartial>[0]);
  const { template } = await first.templates.createTemplate(request);
  await first.templates.publishTemplate({ name, version: template?.version ?? 1, etag: "" });
}

async function childOf(job: Job, name = "child"): Promise<Job> {
  const id = step(job, name)?.childJobId ?? "";
  return eventually(() => getJob(second, id));
}

test("a sub-job runs with its parameters, knows its parent, and its end is that of the step", async () => {
  await publish("echo", { steps: [{ name: "main", handler: "work" }] });
  const job = await submitSteps(
    [
      { name: "child", subJob: { template: { name: "echo" } } },
      { name: "after", handler: "work", dependsOn: ["child"] },
    ],
    { timeout: seconds(600) },
  );
  const child = await childOf(job);
  expect(child).toMatchObject({ parentJobId: job.id, parentStep: "child", template: "echo" });
  expect(child.deadlineTime?.getTime()).toBeLessThanOrEqual(job.deadlineTime?.getTime() ?? 0);
  const { jobs } = await first.jobs.listJobs({
    filter: `parent_job_id = ${job.id}`,
    pageSize: 0,
    pageToken: "",
    orderBy: "",
  });
  expect(jobs.map(({ id }) => id)).toEqual([child.id]);
  await report(second, reportOf(child.id, "SUCCEEDED", { result: { ok: true } }));
  await eventually(async () =>
    expect(step(await getJob(first, job.id), "child")).toMatchObject({
      state: "STEP_STATE_SUCCEEDED",
      result: { ok: true },
    }),
  );
  const left = await queryOnce(database.adminUrl, "select from job.errand where parent_job_id = $1", [job.id]);
  expect(left).toHaveLength(0);
});

test("a sub-job that fails is repeated as another job, and what it failed of is told", async () => {
  const retry = { maxAttempts: 2, initialBackoff: seconds(0.1) };
  const job = await submitSteps([{ name: "child", subJob: { template: { name: "echo" } }, retry }]);
  const one = await childOf(job);
  await report(first, reportOf(one.id, "FAILED", { reason: "REASON_EXIT_CODE", message: "exit code 1" }));
  const two = await eventually(async () => {
    const child = await childOf(await getJob(first, job.id));
    expect(child.id).not.toBe(one.id);
    return child;
  });
  await report(first, reportOf(two.id, "FAILED", { reason: "REASON_EXIT_CODE", message: "exit code 2" }));
  expect(await untilEnded(first, job)).toMatchObject({
    state: "JOB_STATE_FAILED",
    reason: "REASON_SUB_JOB_FAILED",
    message: `job ${two.id} is FAILED; EXIT_CODE: exit code 2`,
  });
});

test("a sub-job of a template that is not there, and one too deep, fail their steps", async () => {
  const job = await submitSteps([{ name: "child", subJob: { template: { name: "missing" } } }]);
  expect(await untilEnded(first, job)).toMatchObject({ state: "JOB_STATE_FAILED", reason: "REASON_SUB_JOB_FAILED" });
  await publish("ourselves", { steps: [{ name: "child", subJob: { template: { name: "ourselves" } } }] });
  const deep = await submitSteps([{ name: "child", subJob: { template: { name: "ourselves" } } }]);
  const ended = await untilEnded(first, deep);
  expect(ended.state).toBe("JOB_STATE_FAILED");
  expect(ended.message).toContain("the limit is 10");
  const [row] = await queryOnce(
    database.adminUrl,
    "select count(*)::int as jobs, max(depth) as depth from job.job where name = 'ourselves'",
    [],
  );
  expect(row).toEqual({ jobs: 10, depth: 10 });
});

test("the cancel of a job goes down to its sub-jobs and theirs, and ends when all have ended", async () => {
  await publish("inner", { steps: [{ name: "child", subJob: { template: { name: "echo" } } }] });
  const job = await submitSteps([{ name: "child", subJob: { template: { name: "inner" } } }]);
  const inner = await childOf(job);
  const leaf = await childOf(await eventually(() => getJob(first, inner.id)));
  await report(first, reportOf(leaf.id, "STARTED"));
  await first.jobs.cancelJob({ jobId: job.id, message: "enough" });
  await eventually(async () =>
    expect(await getJob(second, leaf.id)).toMatchObject({
      state: "JOB_STATE_CANCELLING",
      reason: "REASON_PARENT_ENDED",
    }),
  );
  expect((await getJob(first, job.id)).state).toBe("JOB_STATE_CANCELLING");
  await report(first, reportOf(leaf.id, "CANCELLED"));
  expect(await untilEnded(first, job)).toMatchObject({
    state: "JOB_STATE_CANCELLED",
    reason: "REASON_CANCELLED_BY_USER",
  });
  expect((await getJob(first, inner.id)).state).toBe("JOB_STATE_CANCELLED");
});

test("a job that is cancelled at the moment of submitting its sub-jobs leaves none of them behind", async () => {
  const items = Array.from({ length: 10 }, (_, index) => index);
  const job = await submitSteps([{ name: "each", subJob: { template: { name: "echo" } }, forEach: { items } }]);
  await second.jobs.cancelJob({ jobId: job.id, message: "" });
  await eventually(async () => {
    const { jobs } = await first.jobs.listJobs({
      filter: `parent_job_id = ${job.id} AND state = CANCELLING`,
      pageSize: 0,
      pageToken: "",
      orderBy: "",
    });
    for (const { id } of jobs) await report(first, reportOf(id, "CANCELLED"));
    expect((await getJob(first, job.id)).state).toBe("JOB_STATE_CANCELLED");
  });
  const live = await queryOnce(database.adminUrl, "select from job.job where parent_job_id = $1 and end_time is null", [
    job.id,
  ]);
  expect(live).toHaveLength(0);
});

test("what a service has left to do between jobs when it was killed is done by another", async () => {
  const third = await startTestService(database, nats.url);
  const part = { spec: { name: "waits", steps: [{ name: "child", subJob: { template: { name: "echo" } } }] } };
  const { job } = await third.jobs.submitJob(SubmitJobRequest.fromPartial(part));
  await third.end("SIGKILL");
  const child = await childOf(job as Job);
  const fourth = await startTestService(database, nats.url);
  await report(fourth, reportOf(child.id, "SUCCEEDED", { result: 1 }));
  await fourth.end("SIGKILL");
  expect(await untilEnded(first, job as Job)).toMatchObject({ state: "JOB_STATE_SUCCEEDED", result: 1 });
});

test("many sub-jobs that end at once on several replicas all come up, in their order", async () => {
  const items = Array.from({ length: 40 }, (_, index) => index);
  const job = await submitSteps([{ name: "each", subJob: { template: { name: "echo" } }, forEach: { items } }]);
  const query = { filter: `parent_job_id = ${job.id}`, pageSize: 100, pageToken: "", orderBy: "" };
  const children = await eventually(async () => {
    const { jobs } = await second.jobs.listJobs(query);
    expect(jobs).toHaveLength(items.length);
    return jobs;
  });
  await Promise.all(
    children.map(({ id, parentStep }, at) =>
      report(at % 2 === 0 ? first : second, reportOf(id, "SUCCEEDED", { result: parentStep })),
    ),
  );
  const ended = await untilEnded(first, job);
  expect(ended).toMatchObject({ state: "JOB_STATE_SUCCEEDED", result: items.map((item) => `each.${item}`) });
  expect(await queryOnce(database.adminUrl, "select from job.errand")).toHaveLength(0);
});

test("a paused job begins nothing and goes on where it was", async () => {
  const job = await submitSteps([
    { name: "a", handler: "work" },
    { name: "nap", sleep: { duration: seconds(0.2) } },
    { name: "b", handler: "work", dependsOn: ["a"] },
  ]);
  const { job: paused } = await first.jobs.pauseJob({ jobId: job.id, message: "lunch" });
  expect(paused).toMatchObject({ reason: "REASON_JOB_PAUSED", message: "lunch", pauseTime: expect.any(Date) });
  expect(paused && step(paused, "a")).toMatchObject({ state: "STEP_STATE_READY", reason: "REASON_JOB_PAUSED" });
  expect((await second.jobs.pauseJob({ jobId: job.id, message: "again" })).job?.sequence).toBe(paused?.sequence);
  await report(second, reportOf(job.id, "STARTED", { step: "a" }), reportOf(job.id, "SUCCEEDED", { step: "a" }));
  // Long after the sleep was over.
  await untilEnded(first, await submitSteps([{ name: "nap", sleep: { duration: seconds(1) } }]));
  const held = await getJob(first, job.id);
  expect(held.steps.map(({ state }) => state)).toEqual([
    "STEP_STATE_SUCCEEDED",
    "STEP_STATE_SUSPENDED",
    "STEP_STATE_BLOCKED",
  ]);
  const { job: resumed } = await second.jobs.resumeJob({ jobId: job.id });
  expect(resumed).toMatchObject({ reason: "REASON_UNSPECIFIED", pauseTime: undefined });
  await eventually(async () =>
    expect((await getJob(first, job.id)).steps.map(({ state }) => state)).toEqual([
      "STEP_STATE_SUCCEEDED",
      "STEP_STATE_SUCCEEDED",
      "STEP_STATE_READY",
    ]),
  );
  await report(first, reportOf(job.id, "SUCCEEDED", { step: "b" }));
  expect(await factsOf(database, job.id)).toEqual(
    expect.arrayContaining(["job.paused", "job.resumed", "job.succeeded*"]),
  );
  await expect(first.jobs.pauseJob({ jobId: job.id, message: "" })).rejects.toMatchObject({
    code: "FAILED_PRECONDITION",
  });
});

test("a paused job of one step is cancelled, and a backoff that comes due waits", async () => {
  const retry = { maxAttempts: 2, initialBackoff: seconds(0.1) };
  const job = await submitSteps([{ name: "main", handler: "work", retry }]);
  await report(first, reportOf(job.id, "FAILED", { reason: "REASON_HANDLER_FAILED" }));
  await first.jobs.pauseJob({ jobId: job.id, message: "" });
  await untilEnded(first, await submitSteps([{ name: "nap", sleep: { duration: seconds(0.5) } }]));
  expect((await getJob(first, job.id)).steps[0]?.state).toBe("STEP_STATE_BACKOFF");
  await second.jobs.resumeJob({ jobId: job.id });
  await eventually(async () => expect((await getJob(first, job.id)).steps[0]?.state).toBe("STEP_STATE_READY"));
  await second.jobs.pauseJob({ jobId: job.id, message: "" });
  await second.jobs.cancelJob({ jobId: job.id, message: "" });
  await report(first, reportOf(job.id, "CANCELLED", { attempt: 2 }));
  expect(await getJob(first, job.id)).toMatchObject({ state: "JOB_STATE_CANCELLED", pauseTime: undefined });
});

test("a retry from what failed keeps what succeeded, with its result, and runs the rest", async () => {
  const job = await submitSteps([
    { name: "a", handler: "work" },
    { name: "skipped", handler: "work", when: "false" },
    { name: "b", handler: "work", dependsOn: ["a"] },
    { name: "c", handler: "work", dependsOn: ["a", "b", "skipped"], input: "${{ steps.a.result.n }}" },
  ]);
  await report(first, reportOf(job.id, "SUCCEEDED", { step: "a", result: { n: 7 } }));
  await report(first, reportOf(job.id, "FAILED", { step: "b", reason: "REASON_HANDLER_FAILED" }));
  expect((await getJob(first, job.id)).state).toBe("JOB_STATE_FAILED");
  const ask = { jobId: job.id, requestId: "again-1", fromFailed: true };
  const { job: retry } = await second.jobs.retryJob(ask);
  if (retry === undefined) throw new Error("no job");
  expect(retry).toMatchObject({ retryOf: job.id });
  expect(retry.steps.map(({ name, state }) => [name, state])).toEqual([
    ["a", "STEP_STATE_SUCCEEDED"],
    ["skipped", "STEP_STATE_SKIPPED"],
    ["b", "STEP_STATE_READY"],
    ["c", "STEP_STATE_BLOCKED"],
  ]);
  expect(step(retry, "a")).toMatchObject({ result: { n: 7 }, endTime: expect.any(Date) });
  expect((await first.jobs.retryJob(ask)).job?.id).toBe(retry.id);
  await expect(first.jobs.retryJob({ ...ask, fromFailed: false })).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
  await report(first, reportOf(retry.id, "SUCCEEDED", { step: "b" }));
  const [ready] = await queryOnce(
    database.adminUrl,
    "select data from job.event where aggregate_id = $1 and event in ('ready', 'succeeded') order by sequence desc limit 1",
    [retry.id],
  );
  expect(JSON.stringify(ready?.["data"])).toContain('"input":7');
  await report(first, reportOf(retry.id, "SUCCEEDED", { step: "c", result: "done" }));
  expect(await getJob(first, retry.id)).toMatchObject({ state: "JOB_STATE_SUCCEEDED", result: "done" });
  const { jobs } = await first.jobs.listJobs({
    filter: `retry_of = ${job.id}`,
    pageSize: 0,
    pageToken: "",
    orderBy: "",
  });
  expect(jobs.map(({ id }) => id)).toEqual([retry.id]);
});

test("what was undone runs again", async () => {
  const job = await submitSteps([
    { name: "a", handler: "work", compensate: "undo" },
    { name: "b", handler: "work", dependsOn: ["a"] },
    { name: "undo", handler: "work" },
  ]);
  await report(first, reportOf(job.id, "SUCCEEDED", { step: "a" }));
  await report(first, reportOf(job.id, "FAILED", { step: "b" }));
  await report(first, reportOf(job.id, "SUCCEEDED", { step: "undo" }));
  const { job: retry } = await first.jobs.retryJob({ jobId: job.id, requestId: "", fromFailed: true });
  expect(retry && step(retry, "a")?.state).toBe("STEP_STATE_READY");
});

test("a job runs again with another input, and says of which it is a repetition", async () => {
  const job = await submitSteps([{ name: "main", handler: "work", input: "${{ input.n }}" }], { input: { n: 1 } });
  const ask = { jobId: job.id, input: { n: 2 }, requestId: "rerun-1" };
  await expect(first.jobs.rerunJob(ask)).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  await report(first, reportOf(job.id, "SUCCEEDED"));
  const { job: again } = await first.jobs.rerunJob(ask);
  expect(again).toMatchObject({ rerunOf: job.id, spec: { input: { n: 2 } } });
  expect((await second.jobs.rerunJob(ask)).job?.id).toBe(again?.id);
  const { jobs } = await first.jobs.listJobs({
    filter: `rerun_of = ${job.id}`,
    pageSize: 0,
    pageToken: "",
    orderBy: "",
  });
  expect(jobs.map(({ id }) => id)).toEqual([again?.id]);
  const tooLong = { ...ask, requestId: "", input: "x".repeat(300_000) };
  await expect(first.jobs.rerunJob(tooLong)).rejects.toMatchObject({
    fields: [expect.objectContaining({ field: "input" })],
  });
});

test("what finds those that wait leaves out those that do not", async () => {
  const rows = await queryOnce(
    database.adminUrl,
    "select indexdef from pg_indexes where schemaname = 'job' and indexname = any($1)",
    [["step_suspended", "job_paused", "job_by_parent", "job_by_rerun", "job_by_retry"]],
  );
  expect(rows).toHaveLength(5);
  for (const { indexdef } of rows) expect(indexdef).toMatch(/WHERE/);
});
