/**
 * One attempt of one step on one provider: its states and the moves between them. What is observed of a workload becomes a
 * move in verdict.ts. No clock, no ids, no I/O.
 *
 *   ASSIGNED ──→ STARTING ──→ RUNNING ──→ SUCCEEDED | FAILED
 *       └────────────┴────────────┴─────→ STOPPING ──→ CANCELLED | TIMED_OUT | SUCCEEDED
 *   STARTING ──→ FAILED                  STARTING, RUNNING, STOPPING ──→ LOST
 *
 * A start that is confirmed after the stop was asked for leaves it STOPPING.
 */
import type { StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { StartRefusedReason } from "./backends/backend.ts";

export const liveStates = ["ASSIGNED", "STARTING", "RUNNING", "STOPPING"] as const;
export const finalStates = ["SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT", "LOST"] as const;
export type LiveState = (typeof liveStates)[number];
type FinalState = (typeof finalStates)[number];
export type ExecutionState = LiveState | FinalState;

export const providerKinds = ["PROCESS", "DOCKER", "WORKER"] as const;
export type ProviderKind = (typeof providerKinds)[number];

/** Why an execution is asked to end. LOST: its runner has to let go of it and cannot hand it over. */
export type StopReason = "CANCELLED_BY_USER" | "OPERATOR" | "JOB_TIMEOUT" | "START_TIMEOUT" | "RUN_TIMEOUT" | "LOST";

/** Why a start takes long: the engine does not answer and is asked again and again, or the image is not there yet. */
export type DelayReason = "PROVIDER_UNREACHABLE" | "IMAGE_PULL";

/** Why an execution is in its state; the words of the contract's `Reason`. */
export type ExecutionReason =
  | "UNSPECIFIED"
  | StopReason
  | StartRefusedReason
  | DelayReason
  | "EXIT_CODE"
  | "SIGNAL"
  | "OUT_OF_MEMORY"
  | "RESULT_INVALID"
  | "HANDLER_FAILED"
  | "NON_RETRYABLE";

export interface Stop {
  readonly reason: StopReason;
  /** For people. */
  readonly message: string;
}

/** Who an execution is and what it runs; never changes. */
export interface Assignment {
  /** UUID made by the orchestrator. */
  readonly id: string;
  readonly tenant: string;
  readonly jobId: string;
  readonly step: string;
  /** From 1. */
  readonly attempt: number;
  readonly providerId: string;
  readonly providerName: string;
  readonly kind: ProviderKind;
  /** Where the engine listens; empty is the default of its kind. */
  readonly endpoint: string;
  /** The user's, carried unchanged. */
  readonly spec: StepSpec;
  readonly traceparent: string | null;
}

/** Where an execution stands. */
export interface Execution {
  readonly id: string;
  /** Grows with each runner that takes it over. */
  readonly fence: number;
  readonly state: ExecutionState;
  readonly reason: ExecutionReason;
  /** The reason for people. */
  readonly message: string;
  /** True once a backend has confirmed that it ran. */
  readonly hasStarted: boolean;
  /** What the backend calls it; empty before it started. */
  readonly externalRef: string;
  /** Null when it did not exit by itself or has not yet. */
  readonly exitCode: number | null;
  /** Empty when no signal ended it. */
  readonly signal: string;
  /** JSON text of what the workload gave back; null when it gave nothing. */
  readonly result: string | null;
  /** The number of its last fact; 0 before the first. */
  readonly sequence: number;
}

export type EndType = "succeeded" | "failed" | "cancelled" | "timedOut" | "lost";

/** An end with what is known of it. */
export interface Ended {
  readonly type: EndType;
  readonly reason: ExecutionReason;
  readonly message: string;
  readonly exitCode: number | null;
  readonly signal: string;
  readonly result: string | null;
  /** By the clock of the machine it ran on; null when the end was not seen. */
  readonly time: Date | null;
}

/** What happens to an execution. Only the start and the end are published as facts. */
export type ExecutionEvent =
  | { readonly type: "starting" }
  | { readonly type: "delayed"; readonly reason: DelayReason; readonly message: string }
  | { readonly type: "started"; readonly ref: string; readonly time: Date }
  | ({ readonly type: "stopping" } & Stop)
  | Ended;

/** The states each event may happen in. The diagram above and the exhaustive test follow this table. */
export const allowedFrom = {
  starting: ["ASSIGNED"],
  delayed: ["STARTING"],
  started: ["STARTING", "STOPPING"],
  stopping: ["ASSIGNED", "STARTING", "RUNNING"],
  succeeded: ["RUNNING", "STOPPING"],
  failed: ["STARTING", "RUNNING"],
  cancelled: ["STOPPING"],
  timedOut: ["STOPPING"],
  lost: ["STARTING", "RUNNING", "STOPPING"],
} as const satisfies Record<ExecutionEvent["type"], readonly ExecutionState[]>;

const stateAfter = {
  starting: "STARTING",
  delayed: "STARTING",
  started: "RUNNING",
  stopping: "STOPPING",
  succeeded: "SUCCEEDED",
  failed: "FAILED",
  cancelled: "CANCELLED",
  timedOut: "TIMED_OUT",
  lost: "LOST",
} as const satisfies Record<ExecutionEvent["type"], ExecutionState>;

/** The name a published event has in its subject. */
export const factNames = {
  started: "started",
  succeeded: "succeeded",
  failed: "failed",
  cancelled: "cancelled",
  timedOut: "timed_out",
  lost: "lost",
} as const satisfies Partial<Record<ExecutionEvent["type"], string>>;

export type PublishedEvent = Extract<ExecutionEvent, { type: keyof typeof factNames }>;

export function isPublished(event: ExecutionEvent): event is PublishedEvent {
  return event.type in factNames;
}

export function isEnded(event: ExecutionEvent): event is Ended {
  return isPublished(event) && event.type !== "started";
}

export function isLive(execution: Pick<Execution, "state">): boolean {
  return (liveStates as readonly ExecutionState[]).includes(execution.state);
}

/** The stop that was asked for; null when none was, or when it is over. */
export function stopOf(execution: Execution): Stop | null {
  if (execution.state !== "STOPPING") return null;
  return { reason: execution.reason as StopReason, message: execution.message };
}

/** An execution as it is when it is assigned. `STARTING` says that its start is asked for in the same breath. */
export function assign(id: string, state: "ASSIGNED" | "STARTING"): Execution {
  return {
    id,
    fence: 1,
    state,
    reason: "UNSPECIFIED",
    message: "",
    hasStarted: false,
    externalRef: "",
    exitCode: null,
    signal: "",
    result: null,
    sequence: 0,
  };
}

/** The execution after the event. An event that may not happen in its state is a defect of the caller: it throws. */
export function apply(execution: Execution, event: ExecutionEvent): Execution {
  const from: readonly ExecutionState[] = allowedFrom[event.type];
  if (!from.includes(execution.state)) throw new Error(`${event.type} may not happen in ${execution.state}`);
  const sequence = execution.sequence + (isPublished(event) ? 1 : 0);
  const state = stateAfter[event.type];
  switch (event.type) {
    case "starting":
      return { ...execution, state };
    case "delayed":
      return { ...execution, state, reason: event.reason, message: event.message };
    case "stopping":
      return { ...execution, state, reason: event.reason, message: event.message };
    case "started": {
      const started = { ...execution, sequence, hasStarted: true, externalRef: event.ref };
      return execution.state === "STOPPING" ? started : { ...started, state, reason: "UNSPECIFIED", message: "" };
    }
    default: {
      const { reason, message, exitCode, signal, result } = event;
      return { ...execution, state, sequence, reason, message, exitCode, signal, result };
    }
  }
}
