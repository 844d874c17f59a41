/** Steps that are jobs of their own, in the true store with two replicas. */
import type { Job } from "@capstan/proto/capstan/job/v1/job.ts";
import { SubmitJobRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { CreateTemplateRequest } from "@capstan/proto/capstan/job/v1/template_service.ts";
import { afterAll, expect, test } from "vitest";
import { queryOnce } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { getJob, type JobPart, seconds, untilEnded } from "../../../test/support/jobs.ts";
import {
  report,
  reportOf,
  type Steps,
  startTestPair,
  startTestService,
  stepNamed,
  submitSteps,
} from "./startTestService.ts";

const { database, nats, first, second, stop } = await startTestPair();
afterAll(stop);

async function publish(name: string, job: JobPart & { readonly steps: Steps }): Promise<void> {
  const part = { name, spec: { job: { name, ...job } } };
  const request = CreateTemplateRequest.fromPartial(part as Parameters<typeof CreateTemplateRequest.fromPartial>[0]);
  const { template } = await first.templates.createTemplate(request);
  await first.templates.publishTemplate({ name, version: template?.version ?? 1, etag: "" });
}

async function childOf(job: Job, name = "child"): Promise<Job> {
  const id = stepNamed(job, name)?.childJobId ?? "";
  return eventually(() => getJob(second, id));
}

test("a sub-job runs with its parameters, knows its parent, and its end is that of the step", async () => {
  await publish("echo", { steps: [{ name: "main", handler: "work" }] });
  const job = await submitSteps(
    first,
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
    expect(stepNamed(await getJob(first, job.id), "child")).toMatchObject({
      state: "STEP_STATE_SUCCEEDED",
      result: { ok: true },
    }),
  );
  const left = await queryOnce(database.adminUrl, "select from job.errand where parent_job_id = $1", [job.id]);
  expect(left).toHaveLength(0);
});

test("a sub-job that fails is repeated as another job, and what it failed of is told", async () => {
  const retry = { maxAttempts: 2, initialBackoff: seconds(0.1) };
  const job = await submitSteps(first, [{ name: "child", subJob: { template: { name: "echo" } }, retry }]);
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
  const job = await submitSteps(first, [{ name: "child", subJob: { template: { name: "missing" } } }]);
  expect(await untilEnded(first, job)).toMatchObject({ state: "JOB_STATE_FAILED", reason: "REASON_SUB_JOB_FAILED" });
  await publish("ourselves", { steps: [{ name: "child", subJob: { template: { name: "ourselves" } } }] });
  const deep = await submitSteps(first, [{ name: "child", subJob: { template: { name: "ourselves" } } }]);
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
  const job = await submitSteps(first, [{ name: "child", subJob: { template: { name: "inner" } } }]);
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
  const job = await submitSteps(first, [{ name: "each", subJob: { template: { name: "echo" } }, forEach: { items } }]);
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
  const job = await submitSteps(first, [{ name: "each", subJob: { template: { name: "echo" } }, forEach: { items } }]);
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
