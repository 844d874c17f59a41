/**
 * One execution on a worker: what its handler is given, and how it ends. All that most handlers never ask for (a signal, a log) is
 * made when it is asked for, because a worker runs thousands of them a second.
 */
import type { ExecutionAssigned, WorkerOutcome } from "@capstan/proto/capstan/execution/v1/worker_service.ts";
import { Stopped, type StopReason } from "./failures.ts";
import type { HandlerContext } from "./handlers.ts";
import type { Outbox } from "./workerOutbox.ts";

const maxProgressLength = 256;
const maxMessageLength = 2_000;

/** A class for its getters, which make what they give when it is first asked for. */
export class Execution implements HandlerContext {
  readonly assigned: ExecutionAssigned;
  readonly startTime: Date;
  fence: number;
  /** Nobody waits for its end any more: it was said already, or is not wanted. */
  isGivenUp = false;
  /** Why it was asked to stop; null if it was not. */
  stopped: Stopped | null = null;
  graceTimer: NodeJS.Timeout | undefined;
  readonly #outbox: Outbox;
  #controller: AbortController | undefined;

  constructor(assigned: ExecutionAssigned, outbox: Outbox) {
    this.assigned = assigned;
    this.fence = assigned.fence;
    this.startTime = new Date();
    this.#outbox = outbox;
  }

  get jobId(): string {
    return this.assigned.jobId;
  }
  get step(): string {
    return this.assigned.step;
  }
  get attempt(): number {
    return this.assigned.attempt;
  }
  get executionId(): string {
    return this.assigned.executionId;
  }
  get idempotencyKey(): string {
    return `${this.assigned.jobId}/${this.assigned.step}`;
  }
  get traceparent(): string {
    return this.assigned.traceparent;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.stopped !== null) this.#controller.abort(this.stopped);
    }
    return this.#controller.signal;
  }

  // Getters, so that a handler may take them out of its context.
  get log(): (text: string) => void {
    return (text) => {
      if (!this.isGivenUp) this.#outbox.log(this.executionId, text);
    };
  }
  get progress(): (fraction: number | null, message?: string) => void {
    return (fraction, message = "") => {
      if (this.isGivenUp) return;
      const { executionId } = this;
      const share = fraction === null || Number.isNaN(fraction) ? undefined : Math.min(1, Math.max(0, fraction));
      this.#outbox.progress({ executionId, fraction: share, message: message.slice(0, maxProgressLength) });
    };
  }

  /** Asks the handler to stop; only the first reason counts. */
  stop(reason: StopReason, message: string): void {
    if (this.stopped !== null) return;
    this.stopped = new Stopped(reason, message);
    this.#controller?.abort(this.stopped);
  }
}

/** What a handler that threw is reported as. */
export function outcomeOf(error: unknown, stopped: Stopped | null): WorkerOutcome {
  // By name, because a program may have two copies of this package.
  if (error instanceof Error && error.name === "NonRetryable") return "WORKER_OUTCOME_NON_RETRYABLE";
  if (stopped?.reason === "WORKER_STOPPED") return "WORKER_OUTCOME_LOST";
  return stopped === null ? "WORKER_OUTCOME_FAILED" : "WORKER_OUTCOME_STOPPED";
}

/** What was thrown, for people. Anything can be thrown, also what cannot be shown. */
export function messageOf(error: unknown): string {
  try {
    return describe(error).slice(0, maxMessageLength);
  } catch {
    return "it threw something that has no form as text";
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isPlain = error.name === "Error" || error.name === "NonRetryable";
  return isPlain ? String(error.message || error.name) : `${error.name}: ${error.message}`;
}
