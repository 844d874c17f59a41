import { Job, type JobState, type Reason } from "@capstan/proto/capstan/job/v1/job.ts";
import { expect, test } from "vitest";
import { placementAdvice, runOutcome } from "./runOutcome.ts";

function ended(state: JobState, reason: Reason, exitCode?: number): Job {
  const step = { name: "main", reason, ...(exitCode === undefined ? {} : { exitCode }) };
  return Job.fromPartial({ id: "j1", state, reason, message: "m", steps: [step] });
}

test.each([
  ["JOB_STATE_SUCCEEDED", "REASON_UNSPECIFIED", 0, "", 0],
  ["JOB_STATE_FAILED", "REASON_EXIT_CODE", 42, "", 42],
  ["JOB_STATE_FAILED", "REASON_SIGNAL", undefined, "SIGSEGV", 139],
  ["JOB_STATE_FAILED", "REASON_SIGNAL", undefined, "SIGNOTHING", 125],
  ["JOB_STATE_FAILED", "REASON_OUT_OF_MEMORY", undefined, "", 137],
  ["JOB_STATE_FAILED", "REASON_COMMAND_NOT_FOUND", undefined, "", 127],
  ["JOB_STATE_FAILED", "REASON_PERMISSION_DENIED", undefined, "", 126],
  ["JOB_STATE_FAILED", "REASON_HANDLER_FAILED", undefined, "", 1],
  ["JOB_STATE_FAILED", "REASON_NON_RETRYABLE", undefined, "", 1],
  ["JOB_STATE_FAILED", "REASON_IMAGE_NOT_FOUND", undefined, "", 125],
  // The exit code of an attempt before the lost one says nothing about the lost one.
  ["JOB_STATE_FAILED", "REASON_LOST", 7, "", 125],
  // A result that is no JSON fails a workload that itself ended well.
  ["JOB_STATE_FAILED", "REASON_RESULT_INVALID", 0, "", 125],
  ["JOB_STATE_TIMED_OUT", "REASON_RUN_TIMEOUT", 143, "", 124],
  ["JOB_STATE_CANCELLED", "REASON_CANCELLED_BY_USER", 130, "", 130],
  ["JOB_STATE_RUNNING", "REASON_UNSPECIFIED", undefined, "", 125],
] as const)("%s for %s with exit code %s and signal %j ends with %d", (state, reason, exitCode, signal, expected) => {
  expect(runOutcome(ended(state, reason, exitCode), signal).exitCode).toBe(expected);
});

test("success and the workload's own exit code need no words, everything else is told", () => {
  expect(runOutcome(ended("JOB_STATE_SUCCEEDED", "REASON_UNSPECIFIED", 0), "").message).toBeNull();
  expect(runOutcome(ended("JOB_STATE_FAILED", "REASON_EXIT_CODE", 3), "").message).toBeNull();
  expect(runOutcome(ended("JOB_STATE_TIMED_OUT", "REASON_RUN_TIMEOUT"), "").message).toBe(
    "job j1 TIMED_OUT (RUN_TIMEOUT: m)",
  );
  expect(runOutcome(ended("JOB_STATE_FAILED", "REASON_HANDLER_FAILED"), "").message).toBe(
    "job j1 FAILED (HANDLER_FAILED: m)",
  );
});

test("the advice fits what was asked for", () => {
  expect(placementAdvice({})).toContain("--kind process");
  expect(placementAdvice({ image: "busybox" })).toContain("Docker");
  expect(placementAdvice({ handler: "resize" })).toBe(
    "start a worker that has the handler resize; those that are there: capstan worker list",
  );
  expect(placementAdvice({ image: "busybox", provider: "p1" })).toBe("look at it with: capstan provider get p1");
});
