import { Execution } from "@capstan/proto/capstan/execution/v1/execution.ts";
import { Event } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { SagaFact } from "@capstan/proto/capstan/orchestrator/v1/saga_service.ts";
import { expect, test } from "vitest";
import { formatHistory, historyOf } from "./timeline.ts";

const at = (seconds: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, seconds));
const jobFact = (type: string, seconds: number, data: object) =>
  Event.fromPartial({ type: `capstan.job.v1.${type}`, time: at(seconds), data: { ...data } });
const cells = (line: string) => line.split(/ {2,}/);

test("the facts of all contexts stand in the order of time, with what passed between them, and each attempt with its exit", () => {
  const waiting = SagaFact.fromPartial({
    type: "capstan.orchestrator.v1.saga.waiting",
    time: at(2),
    data: { saga: { step: "main", reason: "REASON_NO_CAPACITY", message: "local is full" } },
  });
  const run = { step: "main", providerName: "local" };
  const why = { reason: "REASON_EXIT_CODE", message: "exit code 3", exitCode: 3 } as const;
  const times = { createTime: at(5), startTime: at(6), endTime: at(9) };
  const executions = [
    Execution.fromPartial({ ...run, attempt: 2, createTime: at(20), state: "EXECUTION_STATE_STARTING" }),
    Execution.fromPartial({ ...run, attempt: 1, ...times, state: "EXECUTION_STATE_FAILED", ...why }),
  ];
  const facts = [jobFact("job.submitted", 1, { name: "flaky" }), jobFact("step.backed_off", 10, { name: "flaky" })];
  const lines = formatHistory(historyOf(facts, [waiting], executions), "j").split("\n");
  expect(lines.slice(1, 3).map(cells)).toEqual([
    ["main", "1", "FAILED", "local", "3", "1.0s", "3.0s", "EXIT_CODE: exit code 3"],
    ["main", "2", "STARTING", "local"],
  ]);
  expect(lines.slice(5, -1).map((line) => cells(line).slice(1))).toEqual([
    ["job.submitted", "name=flaky"],
    ["1.0s", "saga.waiting", 'step=main reason=NO_CAPACITY message="local is full"'],
    ["3.0s", "execution.assigned", "providerName=local step=main attempt=1"],
    ["1.0s", "execution.started", "providerName=local step=main attempt=1"],
    [
      "3.0s",
      "execution.failed",
      'providerName=local step=main attempt=1 reason=EXIT_CODE exitCode=3 message="exit code 3"',
    ],
    ["1.0s", "step.backed_off", "name=flaky"],
    ["10.0s", "execution.assigned", "providerName=local step=main attempt=2"],
  ]);
});

test("what an operator did is told with who and why", () => {
  const data = { saga: { step: "main" }, actor: "ann", note: "gave up" };
  const forced = SagaFact.fromPartial({ type: "capstan.orchestrator.v1.saga.forced", time: at(1), data });
  expect(historyOf([], [forced], []).timeline).toEqual([
    { time: at(1), fact: "saga.forced", details: 'step=main by=ann message="gave up"' },
  ]);
});

test("of many facts the newest are shown, and how many there were before", () => {
  const facts = Array.from({ length: 100 }, (_, number) => jobFact("step.ready", number, { name: `s${number}` }));
  const text = formatHistory(historyOf(facts, [], []), "j");
  expect(text).toMatch(/^after 60 more; capstan job events j lists those of the job\n/);
  expect(text).not.toContain("name=s59\n");
  expect(text).toContain("name=s60\n");
});
