/** Workflows in the true store: what is written, told and read of them, with two services on it. */

import type { Step } from "@capstan/proto/capstan/job/v1/job.ts";
import { JobEvent } from "@capstan/proto/capstan/job/v1/job_event.ts";
import type { ExecutionReport } from "@capstan/proto/capstan/job/v1/job_internal_service.ts";
import { SubmitJobRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { afterAll, expect, test } from "vitest";
import { queryOnce } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { getJob, type JobPart, refusalOf, type StepPart } from "../../../test/support/jobs.ts";
import { factsOf, report, reportOf, startTestPair } from "./startTestService.ts";

const { database, first, second, stop } = await startTestPair();
afterAll(stop);

async function submit(steps: readonly StepPart[], job: JobPart = {}) {
  const spec = { name: "example", ...job, steps: steps.map((step) => ({ handler: "work", ...step })) };
  const { job: submitted } = await first.jobs.submitJob(
    SubmitJobRequest.fromPartial({ spec } as Parameters<typeof SubmitJobRequest.fromPartial>[0]),
  );
  if (submitted === undefined) throw new Error("no job");
  return submitted;
}

function ended(jobId: string, step: string, more: Partial<ExecutionReport> = {}): ExecutionReport {
  return reportOf(jobId, "SUCCEEDED", { step, ...more });
}

function statesOf(steps: readonly Step[]): Record<string, string> {
  return Object.fromEntries(steps.map(({ name, state }) => [name, state.slice("STEP_STATE_".length)]));
}

async function eventsOf(jobId: string): Promise<readonly JobEvent[]> {
  const rows = await queryOnce(
    database.adminUrl,
    "select data from job.event where aggregate_id = $1 order by sequence",
    [jobId],
  );
  return rows.map(({ data }) => JobEvent.fromJSON(data));
}

const diamond = [
  { name: "a" },
  { name: "b", dependsOn: ["a"] },
  { name: "c", dependsOn: ["a"] },
  { name: "d", dependsOn: ["b", "c"], input: { b: "${{ steps.b.result }}" } },
];

test("a job of several steps is told, step by step, with what to run, and says what each waits for", async () => {
  const job = await submit(diamond, {
    queue: "builds",
    concurrencyKey: "${{ input.repository }}",
    input: { repository: "capstan" },
  });
  expect(statesOf(job.steps)).toEqual({ a: "READY", b: "BLOCKED", c: "BLOCKED", d: "BLOCKED" });
  expect(job.steps[3]).toMatchObject({ reason: "REASON_WAITING_DEPENDENCY", message: "waits for b, c" });
  await report(first, ended(job.id, "a"));
  await report(second, ended(job.id, "c"), ended(job.id, "b", { result: [1] }));
  await report(first, ended(job.id, "d", { result: "done" }));
  expect(await getJob(second, job.id)).toMatchObject({ state: "JOB_STATE_SUCCEEDED", result: "done" });
  expect(await factsOf(database, job.id)).toEqual([
    "job.submitted",
    "step.ready",
    "job.started",
    "step.ready",
    "step.succeeded",
    "job.succeeded*",
  ]);
  const events = await eventsOf(job.id);
  const told = events.flatMap(({ steps }) => steps.filter(({ spec }) => spec !== undefined));
  expect(told.map(({ name, spec }) => [name, spec?.input])).toEqual([
    ["a", undefined],
    ["b", undefined],
    ["c", undefined],
    ["d", { b: [1] }],
  ]);
  for (const { queue, concurrencyKey } of events) expect([queue, concurrencyKey]).toEqual(["builds", "capstan"]);
});

test("a fact says when its job has to have ended", async () => {
  const { id, deadlineTime } = await submit(diamond, { timeout: { seconds: 60, nanos: 0 } });
  await report(second, ended(id, "a"));
  const events = await eventsOf(id);
  const times = events.map((event) => event.deadlineTime?.getTime() ?? 0);
  for (const time of times) expect(Math.abs(time - (deadlineTime?.getTime() ?? 0))).toBeLessThan(2);
});

test("a key whose expression cannot be evaluated is refused", async () => {
  const refusal = await refusalOf(submit(diamond, { concurrencyKey: "${{ input.repository }}", input: {} }));
  expect(refusal).toMatchObject({ code: "INVALID_ARGUMENT", fields: [{ field: "spec.concurrency_key" }] });
});

test("the items of a step are written when it is reached, counted, listed in pages, and their results are its own in their order", async () => {
  const { id } = await submit([
    { name: "first" },
    {
      name: "each",
      dependsOn: ["first"],
      input: "${{ item }}",
      forEach: { expression: "steps.first.result", maxParallel: 2 },
    },
    { name: "last", dependsOn: ["each"] },
  ]);
  await report(first, ended(id, "first", { result: ["a", "b", "c"] }));
  expect(await report(second, ended(id, "each.1", { result: "B" }), ended(id, "each.2"))).toEqual([
    "APPLIED",
    "REPEATED",
  ]);
  const job = await getJob(first, id);
  expect(job.steps.map(({ name }) => name)).toEqual(["first", "each", "last"]);
  expect(job.steps[1]).toMatchObject({
    state: "STEP_STATE_RUNNING",
    items: { total: 3, waiting: 2, running: 0, succeeded: 1, failed: 0 },
  });
  const pages: string[][] = [];
  for (let pageToken = ""; pages.length === 0 || pageToken !== ""; ) {
    const page = await first.jobs.listSteps({ jobId: id, parentStep: "", pageSize: 2, pageToken });
    pages.push(page.steps.map(({ name }) => name));
    pageToken = page.nextPageToken;
  }
  expect(pages).toEqual([
    ["first", "each"],
    ["each.0", "each.1"],
    ["each.2", "last"],
  ]);
  const { steps } = await second.jobs.listSteps({ jobId: id, parentStep: "each", pageSize: 10, pageToken: "" });
  expect(statesOf(steps)).toEqual({ "each.0": "READY", "each.1": "SUCCEEDED", "each.2": "READY" });
  await report(first, ended(id, "each.0", { result: "A" }), ended(id, "each.2", { result: "C" }));
  await report(first, ended(id, "last"));
  const done = await getJob(first, id);
  expect(done.steps[1]).toMatchObject({ state: "STEP_STATE_SUCCEEDED", result: ["A", "B", "C"] });
});

test("steps of a job that is not there, and pages of another list, are refused", async () => {
  const none = { jobId: "0190163d-8694-739b-aea5-966c26f8ad91", parentStep: "", pageSize: 1, pageToken: "" };
  expect(await refusalOf(first.jobs.listSteps(none))).toMatchObject({ code: "NOT_FOUND" });
  const { id } = await submit(diamond);
  const { nextPageToken } = await first.jobs.listSteps({ ...none, jobId: id });
  const other = first.jobs.listSteps({ ...none, jobId: id, parentStep: "a", pageToken: nextPageToken });
  expect(await refusalOf(other)).toMatchObject({ code: "INVALID_ARGUMENT" });
});

test("two services that are told of one job at once promote each step once, and number its facts without a gap", async () => {
  const width = 60;
  const names = Array.from({ length: width }, (_, index) => `s${index}`);
  const { id } = await submit([
    { name: "first" },
    ...names.map((name, index) => ({ name, dependsOn: index % 3 === 0 ? ["first"] : ["first", `s${index - 1}`] })),
    { name: "last", dependsOn: names },
  ]);
  const isOver = async () => (await getJob(first, id)).state === "JOB_STATE_SUCCEEDED";
  const told = new Set(["first"]);
  for (let round = 0; !(await isOver()); round += 1) {
    expect(round).toBeLessThan(20);
    // Everything that was ever READY, to both, in opposite orders.
    const reports = [...told].map((step) => ended(id, step));
    await Promise.all([
      report(first, ...reports),
      report(second, ...reports.toReversed()),
      ...reports.slice(0, 10).map((each) => report(second, each)),
    ]);
    for (const { steps } of await eventsOf(id)) {
      for (const { name, state } of steps) if (state === "STEP_STATE_READY") told.add(name);
    }
  }
  const rows = await queryOnce(
    database.adminUrl,
    "select sequence, is_terminal from job.event where aggregate_id = $1 order by sequence",
    [id],
  );
  expect(rows.map(({ sequence }) => sequence)).toEqual(rows.map((_, index) => index + 1));
  expect(rows.filter(({ is_terminal }) => is_terminal)).toHaveLength(1);
  const ready = (await eventsOf(id)).flatMap(({ steps }) =>
    steps.filter(({ state }) => state === "STEP_STATE_READY").map(({ name }) => name),
  );
  expect(ready.toSorted()).toEqual(["first", ...names, "last"].toSorted());
});

test("a promotion that does not fit one fact is told in several, and all of them are published", async () => {
  const wide = Array.from({ length: 200 }, (_, index) => ({ name: `s${index}`, dependsOn: ["first"] }));
  const env = Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`NAME_${index}`, "${{ input.text }}"]));
  const steps = wide.map((step) => ({
    ...step,
    handler: "",
    image: "",
    command: ["true"],
    env: step.name < "s15" ? env : {},
  }));
  const { id } = await submit([{ name: "first" }, ...steps], { input: { text: "x".repeat(1_000) } });
  await report(first, ended(id, "first"));
  const events = await eventsOf(id);
  expect(events.length).toBeGreaterThan(10);
  expect(events.flatMap(({ steps }) => steps.filter(({ spec }) => spec !== undefined))).toHaveLength(201);
  await eventually(async () => {
    const waiting = await queryOnce(database.adminUrl, "select 1 from job.outbox where $1 = any(aggregate_ids)", [id]);
    expect(waiting).toEqual([]);
  });
});

test("the way of a job that is being undone survives a restart of the service that began it", async () => {
  const { id } = await submit(
    [
      { name: "book", compensate: "unbook" },
      { name: "pay", dependsOn: ["book"] },
      { name: "unbook" },
      { name: "tell" },
    ],
    { onFailure: ["tell"] },
  );
  await report(first, ended(id, "book"));
  await report(first, reportOf(id, "FAILED", { step: "pay", reason: "REASON_EXIT_CODE", message: "exit code 1" }));
  expect(await getJob(first, id)).toMatchObject({ state: "JOB_STATE_RUNNING", reason: "REASON_COMPENSATING" });
  await report(second, ended(id, "unbook"));
  expect(await getJob(first, id)).toMatchObject({ state: "JOB_STATE_RUNNING", reason: "REASON_RUNNING_HOOKS" });
  await report(first, ended(id, "tell"));
  expect(await getJob(second, id)).toMatchObject({
    state: "JOB_STATE_FAILED",
    reason: "REASON_EXIT_CODE",
    message: "step pay: exit code 1",
  });
});

test("a cancel names what it spares, and a job whose steps wait for their attempt is undone without anybody", async () => {
  const retry = { maxAttempts: 2, initialBackoff: { seconds: 3_600, nanos: 0 } };
  const { id } = await submit([
    { name: "book", compensate: "unbook" },
    { name: "pay", dependsOn: ["book"], retry },
    { name: "unbook" },
  ]);
  await report(first, ended(id, "book"));
  await report(first, reportOf(id, "FAILED", { step: "pay" }));
  await second.jobs.cancelJob({ jobId: id, message: "enough" });
  const cancelling = (await eventsOf(id)).filter(({ sparedSteps }) => sparedSteps.length > 0);
  expect(cancelling).toMatchObject([{ state: "JOB_STATE_CANCELLING", sparedSteps: ["unbook"] }]);
  await report(first, ended(id, "unbook"));
  expect(await getJob(first, id)).toMatchObject({ state: "JOB_STATE_CANCELLED", message: "enough" });
});
