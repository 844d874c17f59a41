import { Job, type Step, type StepState } from "@capstan/proto/capstan/job/v1/job.ts";
import { expect, test } from "vitest";
import { formatJob, formatJobs, formatSteps } from "./jobView.ts";

const now = new Date("2026-01-01T00:01:00Z");

function aJob(steps: readonly Partial<Step>[], fields: Partial<Job> = {}): Job {
  return Job.fromPartial({ id: "j1", state: "JOB_STATE_RUNNING", spec: { name: "w" }, ...fields, steps: [...steps] });
}

function aStep(name: string, state: StepState, fields: Partial<Step> = {}): Partial<Step> {
  return { name, state, attempt: 1, ...fields };
}

test("what waits for a person is the reason of a job, before what waits for its turn or for other steps", () => {
  const steps = [
    aStep("last", "STEP_STATE_BLOCKED", { reason: "REASON_WAITING_DEPENDENCY" }),
    aStep("turn", "STEP_STATE_READY", { reason: "REASON_QUEUED" }),
    aStep("ask", "STEP_STATE_SUSPENDED", { reason: "REASON_APPROVAL", message: "ship it?" }),
  ];
  expect(formatJobs([aJob(steps)], now, undefined)).toContain("ask: APPROVAL: ship it?");
  expect(formatJobs([aJob(steps.slice(0, 2))], now, undefined)).toContain("turn: QUEUED");
  const waiting = [aStep("done", "STEP_STATE_SUCCEEDED"), ...steps.slice(0, 1)];
  expect(formatJobs([aJob(waiting)], now, undefined)).toContain("last: WAITING_DEPENDENCY");
  const ended = aJob(steps, { state: "JOB_STATE_FAILED", reason: "REASON_EXIT_CODE", message: "exit code 3" });
  expect(formatJobs([ended], now, undefined)).toContain("EXIT_CODE: exit code 3");
});

test("a step of many items says how far they are, and a sub-job which it is", () => {
  const items = { total: 10, waiting: 1, running: 2, succeeded: 6, failed: 1 };
  const table = formatSteps(
    aJob([aStep("map", "STEP_STATE_RUNNING", { items }), aStep("sub", "STEP_STATE_RUNNING", { childJobId: "j2" })])
      .steps,
    now,
  );
  expect(table).toContain("7/10, 2 running, 1 failed");
  expect(table).toMatch(/JOB.*\n.*\n.*j2/);
  const plain = formatSteps(aJob([aStep("a", "STEP_STATE_RUNNING")]).steps, now);
  expect(plain).not.toContain("ITEMS");
  expect(plain).not.toContain("JOB");
});

test("of very many steps those are shown that need a look, and the others are counted", () => {
  const many = Array.from({ length: 500 }, (_, n) =>
    aStep(`s${n}`, n < 300 ? "STEP_STATE_SUCCEEDED" : "STEP_STATE_BLOCKED"),
  );
  const text = formatJob(aJob([...many, aStep("bad", "STEP_STATE_FAILED"), aStep("runs", "STEP_STATE_RUNNING")]), now);
  expect(text.split("\n").length).toBeLessThan(60);
  expect(text).toMatch(/^bad +FAILED/m);
  expect(text).toMatch(/^runs +RUNNING/m);
  expect(text).toMatch(/and 462 more: \d+ SUCCEEDED, \d+ BLOCKED; capstan job steps j1 lists all/);
});

test("where a job comes from is told", () => {
  const text = formatJob(
    aJob([aStep("a", "STEP_STATE_RUNNING")], {
      template: "ship",
      templateVersion: 3,
      parentJobId: "j0",
      parentStep: "deploy",
      rerunOf: "j9",
      pauseTime: new Date("2026-01-01T00:00:00Z"),
    }),
    now,
  );
  for (const line of [
    /Template +ship, version 3/,
    /Sub-job of +j0, step deploy/,
    /Run again from +j9/,
    /Paused +since 2026/,
  ]) {
    expect(text).toMatch(line);
  }
});
