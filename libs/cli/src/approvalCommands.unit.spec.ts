import { Job, Step } from "@capstan/proto/capstan/job/v1/job.ts";
import { expect, test } from "vitest";
import { formatApprovals, isWaiting } from "./approvalCommands.ts";

const now = new Date("2026-01-01T00:10:00Z");
const step = Step.fromPartial({
  name: "ask",
  state: "STEP_STATE_SUSPENDED",
  reason: "REASON_APPROVAL",
  message: "deploy?",
  stateTime: new Date("2026-01-01T00:00:00Z"),
  dueTime: new Date("2026-01-02T00:00:00Z"),
});

test("what waits for a person is told with its job, since when, and until when", () => {
  const text = formatApprovals(
    [{ job: Job.fromPartial({ id: "j-1", spec: { name: "release" } }), step }],
    now,
    undefined,
  );
  expect(text).toMatch(/JOB +NAME +STEP +WAITS +UNTIL +MESSAGE/);
  expect(text).toMatch(/j-1 +release +ask +10m\S* +2026-01-02T00:00:00.000Z +deploy\?/);
});

test("only what waits for a decision is told", () => {
  expect(isWaiting(step)).toBe(true);
  expect(isWaiting({ ...step, reason: "REASON_SLEEPING" })).toBe(false);
  expect(isWaiting({ ...step, state: "STEP_STATE_SUCCEEDED" })).toBe(false);
});
