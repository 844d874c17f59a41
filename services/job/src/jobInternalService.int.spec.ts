import { randomUUID } from "node:crypto";
import { openPool } from "@capstan/postgres";
import { SubmitJobRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { afterAll, expect, onTestFinished, test } from "vitest";
import { createTestLog, queryOnce } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { getJob, refusalOf, seconds, submit } from "../../../test/support/jobs.ts";
import { type LiveJob, listOpenAttempts, type OpenAttempt, type OpenAttemptPage } from "./openAttemptQueries.ts";
import { factsOf, report, reportOf, startTestPair } from "./startTestService.ts";

const { database, first, second, stop } = await startTestPair();
afterAll(stop);

const truth = { command: ["true"] };
const retried = { ...truth, retry: { maxAttempts: 3, initialBackoff: seconds(3_600) } };

test("the same report to two replicas at once is applied once and is one fact", async () => {
  const { id } = await submit(first, truth);
  for (const outcome of ["STARTED", "SUCCEEDED"] as const) {
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, index) => report(index % 2 === 0 ? first : second, reportOf(id, outcome))),
    );
    expect(answers.flat().sort()).toEqual(["APPLIED", ...Array.from({ length: 7 }, () => "REPEATED")]);
  }
  expect(await factsOf(database, id)).toEqual(["job.submitted", "job.started", "job.succeeded*"]);
});

test("one call tells of many jobs and of many things that happened to one, in order", async () => {
  const [one, other] = await Promise.all([submit(first, truth), submit(first, truth)]);
  const answers = await report(
    first,
    reportOf(one.id, "STARTED"),
    reportOf(other.id, "FAILED", { reason: "REASON_EXIT_CODE", exitCode: 3 }),
    reportOf(one.id, "SUCCEEDED", { result: { answer: 42 } }),
    reportOf(one.id, "SUCCEEDED"),
    reportOf(randomUUID(), "STARTED"),
    reportOf(other.id, "STARTED", { step: "no such step" }),
  );
  expect(answers).toEqual(["APPLIED", "APPLIED", "APPLIED", "REPEATED", "UNKNOWN", "UNKNOWN"]);
  expect(await getJob(first, one.id)).toMatchObject({
    state: "JOB_STATE_SUCCEEDED",
    result: { answer: 42 },
    sequence: 3,
  });
  expect(await getJob(first, other.id)).toMatchObject({ state: "JOB_STATE_FAILED", steps: [{ exitCode: 3 }] });
});

test("a result of 256 KiB is stored, published and read", async () => {
  const result = "é".repeat(128 * 1_024 - 1);
  expect(Buffer.byteLength(JSON.stringify(result))).toBe(256 * 1_024);
  const { id } = await submit(first, { handler: "resize" });
  expect(await report(first, reportOf(id, "STARTED"), reportOf(id, "SUCCEEDED", { result }))).toEqual([
    "APPLIED",
    "APPLIED",
  ]);
  const job = await getJob(second, id);
  expect(job.result).toBe(result);
  expect(job.steps[0]?.result).toBe(result);
  const { jobs } = await second.jobs.listJobs({ pageSize: 10, pageToken: "", filter: "", orderBy: "" });
  expect(jobs.find((listed) => listed.id === id)?.result).toBe(result);
  await eventually(async () => {
    const waiting = await queryOnce(database.adminUrl, "select 1 from job.outbox where $1 = any(aggregate_ids)", [id]);
    expect(waiting).toEqual([]);
  });
});

test("a handler that threw is tried again like any failure, one that cannot be cured is not", async () => {
  const step = { handler: "resize", retry: retried.retry };
  const [curable, incurable] = await Promise.all([submit(first, step), submit(first, step)]);
  await report(
    first,
    reportOf(curable.id, "FAILED", { reason: "REASON_HANDLER_FAILED", message: "no such picture" }),
    reportOf(incurable.id, "FAILED", { reason: "REASON_NON_RETRYABLE", message: "not a picture" }),
  );
  expect((await getJob(first, curable.id)).steps[0]).toMatchObject({
    state: "STEP_STATE_BACKOFF",
    reason: "REASON_HANDLER_FAILED",
    attempt: 1,
  });
  expect(await getJob(first, incurable.id)).toMatchObject({
    state: "JOB_STATE_FAILED",
    reason: "REASON_NON_RETRYABLE",
    message: "not a picture",
    steps: [{ attempt: 1 }],
  });
});

test("the input of a handler is told when its step is READY, and by nothing else", async () => {
  const { id } = await submit(first, { handler: "resize", input: { width: 7 } });
  await first.jobs.cancelJob({ jobId: id, message: "" });
  await report(first, reportOf(id, "CANCELLED"));
  const facts = await queryOnce(
    database.adminUrl,
    `select event, data->'steps'->0->'spec' as spec from job.event where aggregate_id = $1 order by sequence`,
    [id],
  );
  expect(facts).toMatchObject([
    { event: "submitted", spec: { handler: "resize", input: { width: 7 } } },
    { event: "cancelling", spec: { handler: "resize" } },
    { event: "cancelled", spec: null },
  ]);
  expect(facts[1]).not.toHaveProperty("spec.input");
  expect((await getJob(first, id)).spec?.steps[0]?.input).toEqual({ width: 7 });
});

test("two calls about the same jobs in opposite order are both answered", async () => {
  const jobs = await Promise.all(Array.from({ length: 50 }, () => submit(first, truth)));
  const reports = jobs.map(({ id }) => reportOf(id, "STARTED"));
  const [forth, back] = await Promise.all([report(first, ...reports), report(second, ...reports.toReversed())]);
  const pairs = forth.map((answer, index) => [answer, back.toReversed()[index]].sort());
  expect(new Set(pairs.map(String))).toEqual(new Set(["APPLIED,REPEATED"]));
});

test("a late report about an attempt that is over is stale and changes nothing", async () => {
  const { id } = await submit(first, { ...retried, retry: { maxAttempts: 3, initialBackoff: seconds(0.001) } });
  await report(first, reportOf(id, "FAILED", { reason: "REASON_EXIT_CODE", exitCode: 1 }));
  const second = await untilAttempt(id, 2);
  const facts = await factsOf(database, id);
  for (const outcome of ["STARTED", "SUCCEEDED", "FAILED", "LOST", "WAITING"] as const) {
    expect(await report(first, reportOf(id, outcome))).toEqual(["STALE"]);
  }
  expect(await report(first, reportOf(id, "STARTED", { attempt: 3 }))).toEqual(["STALE"]);
  expect(await getJob(first, id)).toEqual(second);
  expect(await factsOf(database, id)).toEqual(facts);
  expect(await report(first, reportOf(id, "SUCCEEDED", { attempt: 2 }))).toEqual(["APPLIED"]);
  expect(await report(first, reportOf(id, "FAILED", { attempt: 2 }))).toEqual(["STALE"]);
});

async function untilAttempt(id: string, attempt: number) {
  return eventually(async () => {
    const job = await getJob(first, id);
    expect(job.steps[0]).toMatchObject({ attempt, state: "STEP_STATE_READY" });
    return job;
  });
}

test("a reason to wait is shown and is no fact", async () => {
  const { id } = await submit(first, truth);
  const waiting = reportOf(id, "WAITING", { reason: "REASON_NO_CAPACITY", message: "local is full" });
  expect(await report(first, waiting, waiting)).toEqual(["APPLIED", "REPEATED"]);
  expect(await getJob(first, id)).toMatchObject({
    sequence: 1,
    steps: [{ state: "STEP_STATE_READY", reason: "REASON_NO_CAPACITY", message: "local is full" }],
  });
});

test("a cancel that races a success leaves exactly one terminal fact, and the job in the state that it tells", async () => {
  const jobs = await Promise.all(Array.from({ length: 20 }, () => submit(first, truth)));
  await report(first, ...jobs.map(({ id }) => reportOf(id, "STARTED")));
  const races = jobs.map(async ({ id }) => {
    const [, cancel] = await Promise.allSettled([
      report(first, reportOf(id, "SUCCEEDED")),
      second.jobs.cancelJob({ jobId: id, message: "" }),
    ]);
    // What the orchestrator says when the workload could be stopped: too late, because it has ended already.
    expect(await report(second, reportOf(id, "CANCELLED"))).toEqual(["STALE"]);
    const [event = "", ...others] = (await factsOf(database, id)).filter((fact) => fact.endsWith("*"));
    expect(others).toEqual([]);
    const { state } = await getJob(first, id);
    expect(event).toBe(state === "JOB_STATE_SUCCEEDED" ? "job.succeeded*" : "job.cancelled*");
    if (cancel.status === "rejected") expect(cancel.reason).toMatchObject({ reason: "JOB_HAS_ENDED" });
    return state;
  });
  await Promise.all(races);
});

test("a job that is being cancelled ends when its workload is confirmed to be stopped", async () => {
  const { id } = await submit(first, retried);
  await report(first, reportOf(id, "STARTED"));
  expect((await first.jobs.cancelJob({ jobId: id, message: "enough" })).job?.state).toBe("JOB_STATE_CANCELLING");
  expect((await second.jobs.cancelJob({ jobId: id, message: "again" })).job?.message).toBe("enough");
  expect(await report(first, reportOf(id, "LOST", { reason: "REASON_LOST" }))).toEqual(["APPLIED"]);
  expect(await getJob(first, id)).toMatchObject({ state: "JOB_STATE_CANCELLED", reason: "REASON_CANCELLED_BY_USER" });
  expect(await factsOf(database, id)).toEqual(["job.submitted", "job.started", "job.cancelling", "job.cancelled*"]);
});

test("the orchestrator is told which jobs have ended, are being cancelled, or are not there", async () => {
  const [live, cancelling, ended] = await Promise.all([
    submit(first, truth),
    submit(first, truth),
    submit(first, truth),
  ]);
  await report(first, reportOf(cancelling.id, "STARTED"), reportOf(ended.id, "SUCCEEDED"));
  await first.jobs.cancelJob({ jobId: cancelling.id, message: "enough" });
  const unknown = randomUUID();
  const jobIds = [live.id, cancelling.id, ended.id, unknown];
  expect(await second.internal.findEndedJobs({ jobIds })).toEqual({
    endedIds: [ended.id],
    unknownIds: [unknown],
    cancellingIds: [cancelling.id],
  });
  await report(first, reportOf(cancelling.id, "CANCELLED", { reason: "REASON_CANCELLED_BY_USER" }));
});

test("who reads the open attempts page by page comes to each of them, whatever else there is", async () => {
  const pool = openPool({ url: database.url, schema: "job", log: createTestLog() });
  onTestFinished(() => pool.end());
  const jobs = await Promise.all(Array.from({ length: 9 }, () => submit(first, retried)));
  const [done, backedOff, running, ...ready] = jobs.map(({ id }) => id) as [string, string, string];
  await report(first, reportOf(done, "SUCCEEDED"), reportOf(backedOff, "FAILED"), reportOf(running, "STARTED"));
  const own = new Set(jobs.map(({ id }) => id));
  const found: OpenAttempt[] = [];
  for (let after: LiveJob | null = null, pages = 0; pages === 0 || after !== null; pages += 1) {
    const page: OpenAttemptPage = await listOpenAttempts(pool, { minAgeMs: 0, after, limit: 3 });
    expect(page.attempts.length).toBeLessThanOrEqual(3);
    found.push(...page.attempts.filter(({ jobId }) => own.has(jobId)));
    after = page.last;
  }
  const open = [running, ...ready].map((jobId) => ({ jobId, step: "main", attempt: 1, tenant: "default" }));
  expect(found).toHaveLength(open.length);
  expect(found).toEqual(expect.arrayContaining(open));
  const { attempts, nextPageToken } = await first.internal.listOpenAttempts({ minAge: undefined, pageToken: "" });
  expect(nextPageToken).toBe("");
  expect(attempts).toEqual(expect.arrayContaining(open));
  const refusal = await refusalOf(first.internal.listOpenAttempts({ minAge: undefined, pageToken: "nonsense" }));
  expect(refusal).toMatchObject({ code: "INVALID_ARGUMENT", fields: [{ field: "page_token" }] });
});

test("the open attempts of one job stand on one page", async () => {
  const pool = openPool({ url: database.url, schema: "job", log: createTestLog() });
  onTestFinished(() => pool.end());
  const before = await submit(first, truth);
  const steps = ["a", "b", "c", "d"].map((name) => ({ name, ...truth }));
  const request = SubmitJobRequest.fromPartial({ spec: { name: "wide", steps } });
  const ids: string[] = [];
  for (let jobs = 0; jobs < 2; jobs += 1) ids.push((await first.jobs.submitJob(request)).job?.id ?? "");
  const counts: number[] = [];
  for (let after: LiveJob | null = { state: "PENDING", id: before.id }; after !== null; ) {
    const page: OpenAttemptPage = await listOpenAttempts(pool, { minAgeMs: 0, after, limit: 6 });
    const jobIds = page.attempts.map(({ jobId }) => jobId);
    counts.push(...ids.map((id) => jobIds.filter((jobId) => jobId === id).length));
    after = page.last;
  }
  expect(counts.filter((count) => count > 0)).toEqual([4, 4]);
});

test("a report that does not say what happened is refused, and with it the whole call", async () => {
  const { id } = await submit(first, truth);
  const vague = reportOf(id, "STARTED", { outcome: "EXECUTION_OUTCOME_UNSPECIFIED" });
  const refusal = await refusalOf(first.internal.reportExecutions({ reports: [reportOf(id, "STARTED"), vague] }));
  expect(refusal.code).toBe("INVALID_ARGUMENT");
  expect(await factsOf(database, id)).toEqual(["job.submitted"]);
});
