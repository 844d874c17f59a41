/** What a worker runs at this time: called when it is assigned, reported when it ends, asked to stop when nobody wants it. */
import type {
  ExecutionAssigned,
  ExecutionCancelled,
  ExecutionFinished,
  ExecutionStarted,
  HeldByWorker,
  WorkerOutcome,
} from "@capstan/proto/capstan/execution/v1/worker_service.ts";
import type { Duration } from "@capstan/proto/google/protobuf/duration.ts";
import { Execution, messageOf, outcomeOf } from "./execution.ts";
import { reasonWord, type StopReason } from "./failures.ts";
import type { Handler, Handlers } from "./handlers.ts";
import { maxPayloadBytes, payloadOf } from "./payload.ts";
import type { Outbox } from "./workerOutbox.ts";

export interface Executions {
  /** Handlers that have not returned; each uses a slot, wanted or not. */
  readonly active: number;
  /** Executions whose end is still to be said. */
  readonly running: ReadonlyMap<string, Execution>;
  assign(assigned: ExecutionAssigned): void;
  cancel(cancelled: ExecutionCancelled): void;
  refence(held: HeldByWorker): void;
  started(): Iterable<ExecutionStarted>;
  /** Asks every handler to stop. */
  stopAll(reason: StopReason, message: string): void;
  /** Says of all that run that nobody knows what becomes of them. */
  loseAll(message: string): void;
  /** What the runner accepts as a result. */
  maxPayloadBytes: number;
}

/** `onEnd` is called whenever a handler has returned. */
export function runExecutions(handlers: Handlers, outbox: Outbox, onEnd: () => void): Executions {
  const byName = new Map<string, Handler<unknown, unknown>>(Object.entries(handlers));
  const running = new Map<string, Execution>();
  let active = 0;

  async function call(execution: Execution): Promise<void> {
    active += 1;
    try {
      const handler = byName.get(execution.assigned.handler);
      if (handler === undefined) throw new Error(`this worker has no handler ${execution.assigned.handler}`);
      succeed(execution, await handler(execution.assigned.input, execution));
    } catch (error) {
      fail(execution, error);
    }
    active -= 1;
    onEnd();
  }

  function succeed(execution: Execution, returned: unknown): void {
    if (execution.isGivenUp) return;
    const { value, weight, problem } = payloadOf(returned, executions.maxPayloadBytes);
    if (problem === null) end(execution, "WORKER_OUTCOME_SUCCEEDED", "", value, weight);
    else end(execution, "WORKER_OUTCOME_NON_RETRYABLE", `its result ${problem}`);
  }

  function fail(execution: Execution, error: unknown): void {
    if (execution.isGivenUp) return;
    if (error instanceof Error && typeof error.stack === "string" && execution.stopped === null)
      execution.log(error.stack);
    end(execution, outcomeOf(error, execution.stopped), messageOf(error));
  }

  function end(execution: Execution, outcome: WorkerOutcome, message: string, result?: unknown, weight = 0): void {
    const { executionId, fence, startTime } = execution;
    const finished: ExecutionFinished = {
      executionId,
      fence,
      outcome,
      result,
      message,
      startTime,
      endTime: new Date(),
    };
    giveUp(execution);
    outbox.finished(finished, 200 + 3 * message.length + weight);
  }

  function giveUp(execution: Execution): void {
    execution.isGivenUp = true;
    clearTimeout(execution.graceTimer);
    running.delete(execution.executionId);
  }

  const executions: Executions = {
    maxPayloadBytes,
    running,
    get active() {
      return active;
    },
    assign(assigned) {
      const { executionId } = assigned;
      // Assigned again, by a runner that does not know that it got here.
      if (running.has(executionId) || outbox.unacknowledged.has(executionId)) return;
      const execution = new Execution(assigned, outbox);
      running.set(executionId, execution);
      outbox.started(executionId, execution.startTime);
      void call(execution);
    },
    cancel({ executionId, reason, message, grace }) {
      const execution = running.get(executionId);
      const isForgotten = reason === "REASON_LOST";
      if (isForgotten) outbox.forget(executionId);
      if (execution === undefined) return;
      execution.stop(reasonWord(reason), message || "it was asked to stop");
      if (isForgotten) return giveUp(execution);
      const graceMs = msOf(grace);
      const late = `it did not end within ${graceMs} ms of being asked to stop`;
      clearTimeout(execution.graceTimer);
      execution.graceTimer = setTimeout(() => end(execution, "WORKER_OUTCOME_STOPPED", late), graceMs);
    },
    refence({ executionId, fence }) {
      const execution = running.get(executionId);
      if (execution !== undefined) execution.fence = fence;
    },
    *started() {
      for (const { executionId, startTime } of running.values()) yield { executionId, time: startTime };
    },
    stopAll(reason, message) {
      for (const execution of running.values()) execution.stop(reason, message);
    },
    loseAll(message) {
      for (const execution of [...running.values()]) end(execution, "WORKER_OUTCOME_LOST", message);
    },
  };
  return executions;
}

/** 0 if absent. */
export function msOf(duration: Duration | undefined): number {
  return duration === undefined ? 0 : duration.seconds * 1_000 + duration.nanos / 1e6;
}
