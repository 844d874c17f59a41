/** What this runner does, in figures. Those it holds are counted from memory when somebody asks. */
import { metrics } from "@opentelemetry/api";
import { type Assignment, type ExecutionState, liveStates } from "./execution.ts";
import type { HeldExecution } from "./heldExecution.ts";

interface RunnerMetrics {
  started(assignment: Assignment): void;
  ended(held: HeldExecution): void;
  stored(bytes: number): void;
  watch(states: () => Iterable<ExecutionState>): void;
}

export function createRunnerMetrics(): RunnerMetrics {
  const meter = metrics.getMeter("@capstan/execution-service");
  const starts = meter.createCounter("capstan.execution.starts", { description: "Executions taken on, by kind" });
  const ends = meter.createCounter("capstan.execution.ends", {
    description: "Executions ended, by kind, state and reason",
  });
  const logBytes = meter.createCounter("capstan.log.stored", { description: "Output stored", unit: "By" });
  const live = meter.createObservableGauge("capstan.execution.live", { description: "Executions held, by state" });
  return {
    started: ({ kind }) => starts.add(1, { kind }),
    ended({ assignment, saved, sealed }) {
      ends.add(1, { kind: assignment.kind, state: saved.state, reason: saved.reason });
      logBytes.add(sealed?.rest.reduce((bytes, { data }) => bytes + data.length, 0) ?? 0);
    },
    stored: (bytes) => logBytes.add(bytes),
    watch(states) {
      live.addCallback((result) => {
        const counts = new Map<ExecutionState, number>(liveStates.map((state) => [state, 0]));
        for (const state of states()) counts.set(state, (counts.get(state) ?? 0) + 1);
        for (const [state, count] of counts) result.observe(count, { state });
      });
    },
  };
}
