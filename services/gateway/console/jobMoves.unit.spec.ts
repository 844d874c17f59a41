import { expect, test } from "vitest";
import { applyFact, type JobRow, mergeTop, toRow, withFact } from "./jobMoves.ts";
import type { Fact, Job } from "./json.ts";

const job: Job = {
  id: "a",
  state: "JOB_STATE_RUNNING",
  sequence: 3,
  spec: { name: "build" },
  steps: [
    { name: "one", state: "STEP_STATE_RUNNING", attempt: 1, message: "old", stateTime: "2026-11-21T10:00:00Z" },
    { name: "two", state: "STEP_STATE_BLOCKED" },
  ],
};
const fact = (type: string, sequence: number, data: object): Fact => ({
  id: `f${sequence}`,
  type: `capstan.job.v1.${type}`,
  sequence,
  time: "2026-11-21T10:00:05Z",
  data: data as never,
});

test("a fact moves the job and the steps that it names, and leaves the others", () => {
  const steps = [
    { name: "one", state: "STEP_STATE_FAILED", attempt: 1, message: "exit code 2", reason: "REASON_EXIT_CODE" },
  ];
  const after = applyFact(job, fact("job.failed", 4, { state: "JOB_STATE_FAILED", reason: "REASON_EXIT_CODE", steps }));
  expect(after).toMatchObject({ state: "JOB_STATE_FAILED", reason: "REASON_EXIT_CODE", sequence: 4 });
  expect(after.steps?.[0]).toMatchObject({
    state: "STEP_STATE_FAILED",
    message: "exit code 2",
    stateTime: "2026-11-21T10:00:05Z",
  });
  expect(after.steps?.[1]).toBe(job.steps?.[1]);
});

test("a fact that the job has already is passed over", () => {
  expect(applyFact(job, fact("job.failed", 3, { state: "JOB_STATE_FAILED" }))).toBe(job);
});

test("a row follows the facts of its job to its end, and nothing moves it then", () => {
  const event = (type: string, data: object) => ({
    id: "x",
    type: `capstan.job.v1.${type}`,
    time: "2026-11-21T10:00:05Z",
    data: data as Record<string, unknown>,
  });
  const row = toRow(job);
  const paused = withFact(row, event("job.paused", { state: "JOB_STATE_RUNNING" }));
  expect(paused.isPaused).toBe(true);
  const ended = withFact(
    paused,
    event("job.failed", { state: "JOB_STATE_FAILED", reason: "REASON_EXIT_CODE", message: "exit code 2" }),
  );
  expect(ended).toMatchObject({
    state: "JOB_STATE_FAILED",
    message: "exit code 2",
    isPaused: false,
    endTime: "2026-11-21T10:00:05Z",
    endedSteps: 2,
  });
  expect(withFact(ended, event("step.started", { state: "JOB_STATE_RUNNING" }))).toBe(ended);
});

const rows = (...ids: string[]) => ids.map((id) => ({ id }) as JobRow);
const idsOf = (merged: readonly JobRow[] | null) => merged?.map(({ id }) => id).join("");

test("what is read anew at the top takes the place of what was there, up to its last row", () => {
  expect(idsOf(mergeTop(rows("e", "d", "b"), rows("d", "c", "b", "a")))).toBe("edba");
  expect(idsOf(mergeTop(rows("b", "a"), rows("b", "a")))).toBe("ba");
});

test("a top that does not reach what was there says so", () => {
  expect(mergeTop(rows("z", "y"), rows("b", "a"))).toBeNull();
});
