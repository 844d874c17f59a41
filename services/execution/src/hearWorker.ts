/** What a worker says on its connection, done with its executions. One message carries many things; each may come again. */
import { invalid } from "@capstan/errors";
import type { ConnectRequest, ExecutionFinished } from "@capstan/proto/capstan/execution/v1/worker_service.ts";
import type { HandlerEnd } from "./backends/backend.ts";
import { isDeeperThan, maxOutputDepth } from "./output.ts";
import { maxHeld, maxItems, maxLogBytes, maxMessageLength, maxPayloadBytes, maxProgressLength } from "./worker.ts";
import type { Progress } from "./workerStore.ts";
import { type ConnectedWorker, overOf, type Workers } from "./workers.ts";

export interface HearDeps {
  readonly workers: Workers;
  /** An execution says how far it is. */
  readonly onProgress: (progress: Progress) => void;
  /** It takes nothing more from now on. */
  readonly onDraining: (worker: ConnectedWorker) => void;
  /** It was assigned these and does not have them. */
  readonly onMissed: (executionIds: readonly string[]) => void;
  /** How long a worker may be silent. */
  readonly leaseMs: number;
}

/** Resolves when the logs it carries have gone where they belong: a flood of them holds its worker back. */
export async function hearWorker(worker: ConnectedWorker, message: ConnectRequest, deps: HearDeps): Promise<void> {
  worker.heardMs = performance.now();
  checkSizes(message);
  const { credit, started, finished, logs, progress, isDraining } = message;
  const { link } = worker;
  for (const { executionId, data } of logs) {
    await worker.executions.get(executionId)?.sink?.write("stdout", data);
  }
  // Connected anew meanwhile: there it says the rest again, and what it takes.
  if (worker.link !== link) return;
  for (const { executionId, time } of started) worker.executions.get(executionId)?.start(timeOf(time) ?? new Date());
  for (const each of progress) hearProgress(worker, each, deps);
  for (const each of finished) hearEnd(worker, each);
  if (message.holding !== undefined) hearHolding(worker, message.holding.executionIds, deps);
  if (isDraining && !worker.isDraining) {
    worker.isDraining = true;
    deps.onDraining(worker);
  }
  if (credit > 0) worker.credit = Math.min(worker.credit + credit, worker.registration.slots);
  if (credit > 0 || isDraining) deps.workers.refresh(worker);
  if (credit + started.length + finished.length + logs.length + progress.length === 0) worker.link?.answer();
}

/** A worker that has heard nothing for a lease gives up what it has, so what it was assigned earlier must have got there. */
function hearHolding(worker: ConnectedWorker, executionIds: readonly string[], { leaseMs, onMissed }: HearDeps): void {
  const named = new Set(executionIds);
  const dueMs = performance.now() - leaseMs;
  const missed = [...worker.executions.values()].filter(
    ({ id, sinceMs, hasSaidEnd }) => !named.has(id) && !hasSaidEnd && sinceMs <= dueMs,
  );
  for (const execution of missed) execution.miss();
  if (missed.length > 0) onMissed(missed.map(({ id }) => id));
  for (const id of named) if (!worker.executions.has(id)) worker.link?.cancel(overOf(id));
}

function hearEnd(worker: ConnectedWorker, finished: ExecutionFinished): void {
  const { executionId } = finished;
  const execution = worker.executions.get(executionId);
  // Its end is recorded already, or it is over for everybody else.
  if (execution === undefined) return worker.link?.acknowledge(executionId);
  execution.hasSaidEnd = true;
  if (finished.outcome === "WORKER_OUTCOME_LOST") return execution.lose("its worker was cut off and gave it up");
  const end = toEnd(finished);
  const startTime = timeOf(finished.startTime);
  execution.finish(end, startTime !== null && startTime > end.endTime ? end.endTime : startTime);
}

/** What four digits of a year can say, as facts and messages write it. */
const lastTime = new Date("9999-12-31T23:59:59.999Z");

/** By the worker's clock; null if it says nothing, or what no clock can say. */
function timeOf(said: Date | undefined): Date | null {
  return said !== undefined && said.getTime() >= 0 && said <= lastTime ? said : null;
}

function toEnd({ outcome, result, message, endTime }: ExecutionFinished): HandlerEnd {
  const end = { message: message.slice(0, maxMessageLength), endTime: timeOf(endTime) ?? new Date(), result: null };
  switch (outcome) {
    case "WORKER_OUTCOME_SUCCEEDED": {
      if (isDeeperThan(result, maxOutputDepth)) {
        const tooDeep = `its result is nested deeper than ${maxOutputDepth} levels`;
        return { ...end, outcome: "NON_RETRYABLE", message: tooDeep };
      }
      const json = result === undefined ? null : JSON.stringify(result);
      const bytes = json === null ? 0 : Buffer.byteLength(json);
      if (bytes <= maxPayloadBytes) return { ...end, outcome: "SUCCEEDED", result: json };
      const tooLarge = `its result has ${bytes} bytes as JSON; the limit is ${maxPayloadBytes}`;
      return { ...end, outcome: "NON_RETRYABLE", message: tooLarge };
    }
    case "WORKER_OUTCOME_NON_RETRYABLE":
      return { ...end, outcome: "NON_RETRYABLE" };
    case "WORKER_OUTCOME_STOPPED":
      return { ...end, outcome: "STOPPED" };
    default:
      return { ...end, outcome: "FAILED" };
  }
}

function hearProgress(
  worker: ConnectedWorker,
  { executionId, fraction, message }: ConnectRequest["progress"][number],
  { onProgress }: HearDeps,
): void {
  if (!worker.executions.has(executionId)) return;
  const isFraction = fraction !== undefined && fraction >= 0 && fraction <= 1;
  onProgress({ executionId, fraction: isFraction ? fraction : null, message: message.slice(0, maxProgressLength) });
}

function checkSizes({ started, finished, progress, logs, holding }: ConnectRequest): void {
  const lists = { started, finished, progress };
  const violations = Object.entries(lists).flatMap(([field, items]) =>
    items.length <= maxItems ? [] : [{ field, description: `has ${items.length} items; the limit is ${maxItems}` }],
  );
  const logBytes = logs.reduce((bytes, { data }) => bytes + data.length, 0);
  if (logBytes > maxLogBytes) {
    violations.push({ field: "logs", description: `has ${logBytes} bytes; the limit is ${maxLogBytes}` });
  }
  const held = holding?.executionIds.length ?? 0;
  if (held > maxHeld) {
    violations.push({ field: "holding.execution_ids", description: `has ${held} items; the limit is ${maxHeld}` });
  }
  if (violations.length > 0) throw invalid(violations);
}
