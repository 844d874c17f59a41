/** Steps that wait, in the true store with two replicas: what is kept, told and refused. */
import type { Job } from "@capstan/proto/capstan/job/v1/job.ts";
import {
  DecideApprovalRequest,
  SendSignalRequest,
  SubmitJobRequest,
} from "@capstan/proto/capstan/job/v1/job_service.ts";
import { afterAll, expect, test } from "vitest";
import { queryOnce } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { getJob, seconds, untilEnded } from "../../../test/support/jobs.ts";
import {
  factsOf,
  report,
  reportOf,
  startTestPair,
  startTestService,
  stepNamed,
  submitSteps,
  type TestService,
} from "./startTestService.ts";

const { database, nats, first, second, stop } = await startTestPair();
afterAll(stop);

function decide(service: TestService, job: Job, more: Partial<DecideApprovalRequest> = {}) {
  const plain = { jobId: job.id, step: "ask", decision: "APPROVAL_DECISION_APPROVE", by: "ada" } as const;
  return service.jobs.decideApproval(DecideApprovalRequest.fromPartial({ ...plain, ...more }));
}

function send(service: TestService, job: Job, name: string, more: Partial<SendSignalRequest> = {}) {
  return service.jobs.sendSignal(SendSignalRequest.fromPartial({ jobId: job.id, name, ...more }));
}

test("an approval is found by what it waits for, decided once by whoever is first, and told in facts", async () => {
  const job = await submitSteps(first, [
    { name: "ask", approval: { message: "go?" } },
    { name: "go", handler: "work", dependsOn: ["ask"] },
  ]);
  expect(stepNamed(job, "ask")).toMatchObject({
    state: "STEP_STATE_SUSPENDED",
    reason: "REASON_APPROVAL",
    message: "go?",
  });
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
  const job = await submitSteps(first, [
    { name: "ask", approval: {} },
    { name: "go", handler: "work", dependsOn: ["ask"] },
  ]);
  const decided = await decide(first, job, { note: "fine", fields: { n: 1 } });
  expect(stepNamed(decided.job ?? job, "ask")?.result).toMatchObject({
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
  const job = await submitSteps(first, [{ name: "ask", approval: {} }]);
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
  const job = await submitSteps(first, [{ name: "ask", approval }]);
  const ended = await untilEnded(first, job);
  expect(ended).toMatchObject({ state: "JOB_STATE_SUCCEEDED", result: { decision: "APPROVE", by: "" } });
  expect(stepNamed(ended, "ask")?.reason).toBe("REASON_WAIT_TIMEOUT");
});

test("signals that come before are kept, taken in order, and each counts once", async () => {
  const job = await submitSteps(first, [
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
  const job = await submitSteps(first, [
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
  const job = await submitSteps(first, [{ name: "each", signal: { name: "go" }, forEach: { items } }]);
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

test("a paused job begins nothing and goes on where it was", async () => {
  const job = await submitSteps(first, [
    { name: "a", handler: "work" },
    { name: "nap", sleep: { duration: seconds(0.2) } },
    { name: "b", handler: "work", dependsOn: ["a"] },
  ]);
  const { job: paused } = await first.jobs.pauseJob({ jobId: job.id, message: "lunch" });
  expect(paused).toMatchObject({ reason: "REASON_JOB_PAUSED", message: "lunch", pauseTime: expect.any(Date) });
  expect(paused && stepNamed(paused, "a")).toMatchObject({ state: "STEP_STATE_READY", reason: "REASON_JOB_PAUSED" });
  expect((await second.jobs.pauseJob({ jobId: job.id, message: "again" })).job?.sequence).toBe(paused?.sequence);
  await report(second, reportOf(job.id, "STARTED", { step: "a" }), reportOf(job.id, "SUCCEEDED", { step: "a" }));
  // Long after the sleep was over.
  await untilEnded(first, await submitSteps(first, [{ name: "nap", sleep: { duration: seconds(1) } }]));
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
  const job = await submitSteps(first, [{ name: "main", handler: "work", retry }]);
  await report(first, reportOf(job.id, "FAILED", { reason: "REASON_HANDLER_FAILED" }));
  await first.jobs.pauseJob({ jobId: job.id, message: "" });
  await untilEnded(first, await submitSteps(first, [{ name: "nap", sleep: { duration: seconds(0.5) } }]));
  expect((await getJob(first, job.id)).steps[0]?.state).toBe("STEP_STATE_BACKOFF");
  await second.jobs.resumeJob({ jobId: job.id });
  await eventually(async () => expect((await getJob(first, job.id)).steps[0]?.state).toBe("STEP_STATE_READY"));
  await second.jobs.pauseJob({ jobId: job.id, message: "" });
  await second.jobs.cancelJob({ jobId: job.id, message: "" });
  await report(first, reportOf(job.id, "CANCELLED", { attempt: 2 }));
  expect(await getJob(first, job.id)).toMatchObject({ state: "JOB_STATE_CANCELLED", pauseTime: undefined });
});

test("a retry from what failed keeps what succeeded, with its result, and runs the rest", async () => {
  const job = await submitSteps(first, [
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
  expect(stepNamed(retry, "a")).toMatchObject({ result: { n: 7 }, endTime: expect.any(Date) });
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
  const job = await submitSteps(first, [
    { name: "a", handler: "work", compensate: "undo" },
    { name: "b", handler: "work", dependsOn: ["a"] },
    { name: "undo", handler: "work" },
  ]);
  await report(first, reportOf(job.id, "SUCCEEDED", { step: "a" }));
  await report(first, reportOf(job.id, "FAILED", { step: "b" }));
  await report(first, reportOf(job.id, "SUCCEEDED", { step: "undo" }));
  const { job: retry } = await first.jobs.retryJob({ jobId: job.id, requestId: "", fromFailed: true });
  expect(retry && stepNamed(retry, "a")?.state).toBe("STEP_STATE_READY");
});

test("a job runs again with another input, and says of which it is a repetition", async () => {
  const job = await submitSteps(first, [{ name: "main", handler: "work", input: "${{ input.n }}" }], {
    input: { n: 1 },
  });
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
