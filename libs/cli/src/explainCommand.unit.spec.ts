import { Job } from "@capstan/proto/capstan/job/v1/job.ts";
import { ExplainJobResponse } from "@capstan/proto/capstan/orchestrator/v1/queue_service.ts";
import { expect, test } from "vitest";
import { explanationOf } from "./explainCommand.ts";

const now = new Date("2026-01-01T00:10:00Z");
const before = new Date("2026-01-01T00:07:00Z");

test("an attempt in line is explained with what is in the way, its place, and what would change it", () => {
  const job = Job.fromPartial({ id: "j", state: "JOB_STATE_PENDING", reason: "REASON_QUEUED" });
  const answer = ExplainJobResponse.fromPartial({
    attempts: [
      {
        ...{
          step: "main",
          attempt: 2,
          stage: "WAITING",
          since: before,
          ahead: 4,
          reason: "REASON_NO_CAPACITY",
          message: "full",
        },
        estimatedBeginTime: new Date(now.getTime() + 150_000),
        refusals: [{ providerName: "local", filter: "SLOTS", message: "0 of 3 are free; held by 3 × hog" }],
        remedy: "something has to end",
      },
    ],
    queue: { queue: { name: "default" }, stats: { waiting: 5, running: 1, drainPerSecond: 0.03 } },
  });
  expect(explanationOf(job, answer, now).split("\n")).toEqual([
    "job j is PENDING: QUEUED",
    "step main attempt 2 is WAITING, for 3m",
    "  why       NO_CAPACITY: full",
    "  in line   4 before it; may begin in about 2m30s",
    "  refused   local: SLOTS: 0 of 3 are free; held by 3 × hog",
    "  to change something has to end",
    "queue default 5 waiting, 1 running, 0.0 begun per second",
    "",
  ]);
});

test.each([
  ["SUSPENDED", "APPROVAL", "capstan job approve"],
  ["SUSPENDED", "AWAITING_SIGNAL", "capstan job signal"],
  ["SUSPENDED", "SUB_JOB", "explain that one"],
  ["BLOCKED", "WAITING_DEPENDENCY", "the steps before it have to end"],
  ["BLOCKED", "JOB_PAUSED", "capstan job resume"],
  ["BACKOFF", "BACKOFF", "goes on   in 1m0s, by itself"],
] as const)("a step that is %s for %s is explained by the job itself", (state, reason, says) => {
  const step = { name: "a", state: `STEP_STATE_${state}`, reason: `REASON_${reason}`, stateTime: before } as const;
  const dueTime = state === "BACKOFF" ? new Date(now.getTime() + 60_000) : undefined;
  const job = Job.fromPartial({ id: "j", state: "JOB_STATE_RUNNING", steps: [{ ...step, dueTime }] });
  const text = explanationOf(job, ExplainJobResponse.fromPartial({}), now);
  expect(text).toContain(`step a is ${state}, for 3m`);
  expect(text).toContain(reason);
  expect(text).toContain(says);
});
