/** A user's job fails: it is repeated by its policy, ended by its timeouts, and run again by hand. */

import { uuidv7 } from "@capstan/postgres";
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import {
  getJob,
  listEvents,
  refusalOf,
  run,
  seconds,
  sh,
  shortType,
  stepOf,
  submit,
  untilEnded,
  untilPlaced,
} from "../support/jobs.ts";
import { usePlatform } from "../support/usePlatform.ts";

const platform = usePlatform();

const quickly = { initialBackoff: seconds(0.05), jitter: 0 };

test("a job that fails is repeated until it succeeds, each attempt an execution of its own", async () => {
  const { capstan } = platform();
  const job = await run(capstan, sh(`[ "$CAPSTAN_ATTEMPT" = 3 ] || exit 7`, { retry: { maxAttempts: 5, ...quickly } }));
  expect(job.state).toBe("JOB_STATE_SUCCEEDED");
  expect(stepOf(job)).toMatchObject({ attempt: 3, exitCode: 0, state: "STEP_STATE_SUCCEEDED" });
  const { executions } = await capstan.executions.listExecutions({
    filter: `job_id = "${job.id}"`,
    pageSize: 0,
    pageToken: "",
  });
  expect(executions.map(({ attempt, state, exitCode }) => [attempt, state, exitCode])).toEqual([
    [3, "EXECUTION_STATE_SUCCEEDED", 0],
    [2, "EXECUTION_STATE_FAILED", 7],
    [1, "EXECUTION_STATE_FAILED", 7],
  ]);
  expect((await listEvents(capstan, job.id)).map(shortType)).toEqual([
    "job.submitted",
    "job.started",
    "step.backed_off",
    "step.ready",
    "step.started",
    "step.backed_off",
    "step.ready",
    "step.started",
    "job.succeeded",
  ]);
});

test("while it waits for its next attempt it says so, and until when", async () => {
  const { capstan } = platform();
  const job = await submit(
    capstan,
    sh("exit 1", { retry: { maxAttempts: 2, initialBackoff: seconds(60), jitter: 0 } }),
  );
  await eventually(async () => {
    const step = stepOf(await getJob(capstan, job.id));
    expect(step).toMatchObject({ state: "STEP_STATE_BACKOFF", exitCode: 1, attempt: 1 });
    const leftMs = (step.dueTime?.getTime() ?? 0) - Date.now();
    expect(leftMs).toBeGreaterThan(50_000);
    expect(leftMs).toBeLessThan(61_000);
  });
  await capstan.jobs.cancelJob({ jobId: job.id, message: "" });
  expect(await untilEnded(capstan, job)).toMatchObject({ state: "JOB_STATE_CANCELLED" });
});

test("a job whose attempts are spent has failed", async () => {
  const job = await run(platform().capstan, sh("exit 1", { retry: { maxAttempts: 2, ...quickly } }));
  expect(job).toMatchObject({ state: "JOB_STATE_FAILED", reason: "REASON_EXIT_CODE" });
  expect(stepOf(job).attempt).toBe(2);
});

test("an exit code that is not worth repeating is not repeated", async () => {
  const job = await run(
    platform().capstan,
    sh("exit 2", { retry: { maxAttempts: 5, ...quickly, fatalExitCodes: [2] } }),
  );
  expect(job.state).toBe("JOB_STATE_FAILED");
  expect(stepOf(job).attempt).toBe(1);
});

test("an attempt that runs too long is stopped, with all it has started", async () => {
  const { capstan } = platform();
  const job = await run(
    capstan,
    sh("setsid sleep 3600 & sleep 3600", { runTimeout: seconds(0.3), stopGrace: seconds(1) }),
  );
  expect(job).toMatchObject({ state: "JOB_STATE_TIMED_OUT", reason: "REASON_RUN_TIMEOUT" });
  expect(job.message).toContain("0.3 s");
});

test("a job that runs too long as a whole is stopped", async () => {
  const job = await run(
    platform().capstan,
    { command: ["sleep", "3600"], stopGrace: seconds(1) },
    { timeout: seconds(0.7) },
  );
  expect(job).toMatchObject({ state: "JOB_STATE_TIMED_OUT", reason: "REASON_JOB_TIMEOUT" });
});

test("a job that waits too long as a whole never runs", async () => {
  const { capstan } = platform();
  const nowhere = { command: ["true"], placement: { provider: "no-such-provider" } };
  const job = await run(capstan, nowhere, { timeout: seconds(0.5) });
  expect(job).toMatchObject({ state: "JOB_STATE_TIMED_OUT", reason: "REASON_JOB_TIMEOUT" });
  expect(job.startTime).toBeUndefined();
});

test("a job is not placed before its time", async () => {
  const { capstan } = platform();
  const notBefore = new Date(Date.now() + 1_000);
  const job = await submit(capstan, { command: ["true"] }, { notBefore });
  expect(stepOf(job)).toMatchObject({ state: "STEP_STATE_BLOCKED", reason: "REASON_NOT_BEFORE" });
  const ended = await untilEnded(capstan, job);
  expect(ended.state).toBe("JOB_STATE_SUCCEEDED");
  expect(ended.startTime?.getTime()).toBeGreaterThanOrEqual(notBefore.getTime());
  expect(ended.startTime?.getTime()).toBeLessThan(notBefore.getTime() + 2_000);
});

test("a job that has failed is run again as a new job that names the old one", async () => {
  const { capstan } = platform();
  const old = await run(capstan, sh("exit 1"), { labels: { team: "red" } });
  const requestId = uuidv7();
  const { job: retried } = await capstan.jobs.retryJob({ jobId: old.id, requestId, fromFailed: false });
  expect(retried).toMatchObject({ retryOf: old.id, spec: old.spec });
  expect(retried?.id).not.toBe(old.id);
  const { job: again } = await capstan.jobs.retryJob({ jobId: old.id, requestId, fromFailed: false });
  expect(again?.id).toBe(retried?.id);
  await untilEnded(capstan, { id: retried?.id ?? "" });
  expect((await getJob(capstan, old.id)).state).toBe("JOB_STATE_FAILED");
  const { jobs } = await capstan.jobs.listJobs({
    filter: `retry_of = "${old.id}"`,
    orderBy: "",
    pageSize: 0,
    pageToken: "",
  });
  expect(jobs.map(({ id }) => id)).toEqual([retried?.id]);
});

test("a job that runs, or has succeeded, cannot be run again", async () => {
  const { capstan } = platform();
  const running = await submit(capstan, { command: ["sleep", "3600"], stopGrace: seconds(1) });
  await untilPlaced(capstan, running);
  expect(await refusalOf(capstan.jobs.retryJob({ jobId: running.id, requestId: "", fromFailed: false }))).toMatchObject(
    {
      code: "FAILED_PRECONDITION",
      reason: "JOB_HAS_NOT_ENDED",
    },
  );
  await capstan.jobs.cancelJob({ jobId: running.id, message: "" });
  await untilEnded(capstan, running);
  const succeeded = await run(capstan, { command: ["true"] });
  expect(
    await refusalOf(capstan.jobs.retryJob({ jobId: succeeded.id, requestId: "", fromFailed: false })),
  ).toMatchObject({
    code: "FAILED_PRECONDITION",
    reason: "JOB_HAS_SUCCEEDED",
  });
});
