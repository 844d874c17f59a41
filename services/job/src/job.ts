/**
 * The life of a job and its steps. Every rule is here and nothing here reads a clock, makes an id or does I/O.
 *
 *   job    PENDING ─▶ RUNNING ─▶ SUCCEEDED | FAILED | TIMED_OUT | CANCELLED
 *             └─────────┴─▶ CANCELLING ─▶ CANCELLED | TIMED_OUT
 *
 *   step   BLOCKED ─▶ READY ─▶ RUNNING ─▶ SUCCEEDED | FAILED | TIMED_OUT | CANCELLED | SKIPPED
 *             │         ▲         │
 *             │         └ BACKOFF ◀┘   the next attempt
 *             └────▶ SUSPENDED ─▶ any of these ends; a sub-job goes to RUNNING by itself
 *
 * One move of a job is one change, and one change is one fact: the job's own when the job moved, otherwise the step's.
 */
import { DomainError } from "@capstan/errors";
import type { StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { RetryPolicy } from "./retry.ts";

export type JobState = "PENDING" | "RUNNING" | "CANCELLING" | "SUCCEEDED" | "FAILED" | "CANCELLED" | "TIMED_OUT";
export type StepState =
  | "BLOCKED"
  | "READY"
  | "RUNNING"
  | "BACKOFF"
  | "SUSPENDED"
  | "SUCCEEDED"
  | "FAILED"
  | "CANCELLED"
  | "TIMED_OUT"
  | "SKIPPED";

/** Why something is in its state: the words of `capstan.job.v1.Reason` without their prefix. */
export type Reason = string;

export interface Step {
  readonly name: string;
  /** The step that this is an item of, and which; null for a step of the spec. */
  readonly parent: string | null;
  readonly itemIndex: number | null;
  readonly state: StepState;
  readonly reason: Reason;
  readonly message: string;
  /** The current attempt, from 1. */
  readonly attempt: number;
  readonly executionId: string | null;
  readonly providerName: string;
  /** The job that its current attempt has submitted; null if it is no sub-job or was not reached. */
  readonly childJobId: string | null;
  /** When the step goes on by itself; only in BACKOFF, BLOCKED and SUSPENDED. */
  readonly dueTime: Date | null;
  readonly exitCode: number | null;
  /** JSON value that the workload gave back; undefined if none, `unread` if there is one that was not read. */
  readonly result: unknown;
  readonly startTime: Date | null;
  /** When it ended; null before, and in jobs without a plan, whose steps nobody puts in order. */
  readonly endTime: Date | null;
  readonly retry: RetryPolicy;
}

/** In place of a result that is in the store and was not read: most moves need none, and they may be large. */
export const unread: unique symbol = Symbol("unread");

/** The step that has submitted a job. */
export interface ParentStep {
  readonly jobId: string;
  readonly step: string;
  readonly attempt: number;
  /** How many jobs are above the one that it has submitted. */
  readonly depth: number;
}

/** How a job is going to end, decided when its steps have ended and compensations or hooks are left to run. */
export interface Ending {
  readonly outcome: "SUCCEEDED" | "FAILED" | "CANCELLED" | "TIMED_OUT";
  readonly reason: Reason;
  readonly message: string;
}

export interface Job {
  readonly id: string;
  readonly tenant: string;
  readonly name: string;
  readonly priority: number;
  readonly queue: string;
  /** Empty for none. */
  readonly concurrencyKey: string;
  readonly deadlineTime: Date | null;
  /** It is moved by a plan of its spec: it has several steps, or one that is more than an execution. */
  readonly isWorkflow: boolean;
  /** Null until it is decided, and always in a job that is no workflow. */
  readonly ending: Ending | null;
  /** Since when nothing of it begins; null if it is not paused. */
  readonly pauseTime: Date | null;
  /** Null unless it is a sub-job. */
  readonly parent: ParentStep | null;
  /** How many jobs are above it. */
  readonly depth: number;
  readonly state: JobState;
  readonly reason: Reason;
  readonly message: string;
  /** The number of its last fact. */
  readonly sequence: number;
  readonly traceparent: string | null;
  /** The schedule that submitted it; null if none did. */
  readonly scheduleId: string | null;
  /** Those of the spec in its order, and after them the items that there are. */
  readonly steps: readonly Step[];
  /** Undefined until it has succeeded, or if it gave none. */
  readonly result: unknown;
}

export type JobEventType = "submitted" | "started" | "cancelling" | "succeeded" | "failed" | "cancelled" | "timed_out";
/** A pause is no state: the job stays in its own. */
type PauseEventType = "paused" | "resumed";
export type StepEventType =
  | "ready"
  | "started"
  | "suspended"
  | "backed_off"
  | "succeeded"
  | "failed"
  | "cancelled"
  | "timed_out"
  | "skipped";

/** A job after a move, the steps that moved with it, and what the fact of it is called. */
export interface Change {
  readonly job: Job;
  readonly noun: "job" | "step";
  readonly event: JobEventType | PauseEventType | StepEventType;
  /** With a cancel also the READY ones, which it asks to end. */
  readonly moved: readonly Step[];
  /** What to run in those that are READY, by name, expressions replaced; absent in a job that is no workflow, whose spec says it. */
  readonly told?: ReadonlyMap<string, StepSpec>;
  /** In a workflow's cancel: the steps that run only after it, and are not asked to end. */
  readonly spared?: readonly string[];
}

/** The states each move of a job may begin in. The diagram above and the exhaustive test follow this table. */
export const jobAllowedFrom = {
  submitted: [],
  started: ["PENDING"],
  cancelling: ["PENDING", "RUNNING"],
  succeeded: ["PENDING", "RUNNING"],
  failed: ["PENDING", "RUNNING"],
  cancelled: ["PENDING", "RUNNING", "CANCELLING"],
  timed_out: ["PENDING", "RUNNING", "CANCELLING"],
} as const satisfies Record<JobEventType, readonly JobState[]>;

/**
 * The states each move of a step may begin in. READY may end at once: its start was never seen, or it was never placed. BLOCKED may
 * start by itself with `for_each`, whose items are what runs, and may fail where an expression cannot be evaluated. A sub-job starts by
 * itself too, and again from BACKOFF.
 */
export const stepAllowedFrom = {
  ready: ["BLOCKED", "BACKOFF"],
  started: ["BLOCKED", "READY", "BACKOFF"],
  suspended: ["BLOCKED"],
  backed_off: ["READY", "RUNNING"],
  succeeded: ["READY", "RUNNING", "SUSPENDED"],
  failed: ["BLOCKED", "READY", "RUNNING", "BACKOFF", "SUSPENDED"],
  cancelled: ["BLOCKED", "READY", "RUNNING", "BACKOFF", "SUSPENDED"],
  timed_out: ["READY", "RUNNING", "SUSPENDED"],
  skipped: ["BLOCKED", "READY", "RUNNING", "BACKOFF", "SUSPENDED"],
} as const satisfies Record<StepEventType, readonly StepState[]>;

const stateAfter = {
  ready: "READY",
  started: "RUNNING",
  suspended: "SUSPENDED",
  backed_off: "BACKOFF",
  succeeded: "SUCCEEDED",
  failed: "FAILED",
  cancelled: "CANCELLED",
  timed_out: "TIMED_OUT",
  skipped: "SKIPPED",
} as const satisfies Record<StepEventType, StepState>;

export function isJobTerminal(state: JobState): boolean {
  return state === "SUCCEEDED" || state === "FAILED" || state === "CANCELLED" || state === "TIMED_OUT";
}

export function isStepTerminal(state: StepState): boolean {
  return isJobTerminal(state as JobState) || state === "SKIPPED";
}

/** Moves a step, or throws ABORTED if the table does not allow it: a bug of ours, never a user's fault. */
export function moveStep(step: Step, event: StepEventType, fields: Partial<Omit<Step, "name" | "state">>): Step {
  assertAllowed(stepAllowedFrom[event], step.state, `step ${step.name}`, event);
  return { ...step, reason: "UNSPECIFIED", message: "", dueTime: null, ...fields, state: stateAfter[event] };
}

function assertAllowed(from: readonly string[], state: string, what: string, event: string): void {
  if (from.includes(state)) return;
  throw new DomainError({
    code: "ABORTED",
    reason: "ILLEGAL_MOVE",
    message: `${what} is ${state}; ${event} cannot happen`,
  });
}

/** A step after a move, and what the move was. */
export type StepMove = readonly [event: StepEventType, step: Step];

/** The job after its steps have moved: its own move if that ends or begins it, otherwise the step's. */
export function moved(job: Job, moves: readonly StepMove[]): Change {
  const steps = moves.map(([, step]) => step);
  const after = withSteps(job, steps);
  const event = jobEventOf(after);
  if (event !== null) {
    const result = event === "succeeded" ? after.steps.at(-1)?.result : undefined;
    return { ...moveJob(after, event, causeOf(after), result), moved: steps };
  }
  const [first] = moves;
  if (first === undefined) throw new Error("a change without a move");
  return { job: { ...after, sequence: job.sequence + 1 }, noun: "step", event: first[0], moved: steps };
}

export function withSteps(job: Job, changed: readonly Step[]): Job {
  return { ...job, steps: job.steps.map((step) => changed.find(({ name }) => name === step.name) ?? step) };
}

/** Null while the job stays in its state. */
function jobEventOf({ state, reason, steps }: Job): JobEventType | null {
  if (steps.every((step) => isStepTerminal(step.state))) {
    if (state === "CANCELLING") return reason === "JOB_TIMEOUT" ? "timed_out" : "cancelled";
    if (steps.some((step) => step.state === "FAILED")) return "failed";
    if (steps.some((step) => step.state === "TIMED_OUT")) return "timed_out";
    return steps.some((step) => step.state === "CANCELLED") ? "cancelled" : "succeeded";
  }
  return state === "PENDING" && steps.some((step) => step.state === "RUNNING") ? "started" : null;
}

/** A job that is being cancelled keeps the reason it was given; otherwise it takes that of the step that decided. */
function causeOf(job: Job): { reason: Reason; message: string } {
  if (job.state === "CANCELLING") return { reason: job.reason, message: job.message };
  const isOver = job.steps.every((step) => isStepTerminal(step.state));
  if (job.pauseTime !== null && !isOver) return { reason: job.reason, message: job.message };
  const states: readonly StepState[] = ["FAILED", "TIMED_OUT", "CANCELLED"];
  const cause = states
    .map((state) => job.steps.find((step) => step.state === state))
    .find((step) => step !== undefined);
  return { reason: cause?.reason ?? "UNSPECIFIED", message: cause?.message ?? "" };
}

const jobStateAfter = {
  submitted: "PENDING",
  started: "RUNNING",
  cancelling: "CANCELLING",
  succeeded: "SUCCEEDED",
  failed: "FAILED",
  cancelled: "CANCELLED",
  timed_out: "TIMED_OUT",
} as const satisfies Record<JobEventType, JobState>;

/** Moves a job, or throws ABORTED if the table does not allow it. `result` is what it gave back, if it succeeds. */
export function moveJob(
  job: Job,
  event: JobEventType,
  cause: { reason: Reason; message: string },
  result?: unknown,
): Omit<Change, "moved"> {
  assertAllowed(jobAllowedFrom[event], job.state, `job ${job.id}`, event);
  const state = jobStateAfter[event];
  // What ends, or shall end, is no longer held back.
  const pauseTime = state === "RUNNING" ? job.pauseTime : null;
  const after: Job = { ...job, ...cause, result, state, pauseTime, sequence: job.sequence + 1 };
  return { job: after, noun: "job", event };
}

/**
 * Asks a job to end. What does not run ends at once; the rest ends when the orchestrator confirms it. Null if it was asked
 * before or has been cancelled; refuses a job that has ended in another way.
 */
export function cancel(job: Job, cause: { reason: Reason; message: string }): Change | null {
  if (!isToBeCancelled(job)) return null;
  const idle = job.steps.filter(({ state }) => state === "BLOCKED" || state === "BACKOFF" || state === "SUSPENDED");
  const steps = idle.map((step) => moveStep(step, "cancelled", cause));
  const after = withSteps(job, steps);
  const isOver = after.steps.every((step) => isStepTerminal(step.state));
  const event = !isOver ? "cancelling" : cause.reason === "JOB_TIMEOUT" ? "timed_out" : "cancelled";
  // Told with what to run, because this fact may overtake the one that told so first: there must be something to cancel.
  const ready = after.steps.filter(({ state }) => state === "READY");
  return { ...moveJob(after, event, cause), moved: [...steps, ...ready] };
}

/** False if it was asked to end before or has been cancelled; refuses a job that has ended in another way. */
export function isToBeCancelled(job: Job): boolean {
  if (job.state === "CANCELLING" || job.state === "CANCELLED") return false;
  if (!isJobTerminal(job.state)) return true;
  throw new DomainError({
    code: "FAILED_PRECONDITION",
    reason: "JOB_HAS_ENDED",
    message: `job ${job.id} is ${job.state}; only a job that has not ended can be cancelled`,
    metadata: { jobId: job.id, state: job.state },
  });
}

/** Makes READY what was waiting for its time. Null if nothing is due. */
export function wake(job: Job, now: Date): Change | null {
  const due = job.steps.filter(({ dueTime }) => dueTime !== null && dueTime <= now);
  if (due.length === 0 || job.pauseTime !== null || job.state === "CANCELLING" || isJobTerminal(job.state)) return null;
  const moves = due.map((step): StepMove => {
    const attempt = step.state === "BACKOFF" ? step.attempt + 1 : step.attempt;
    const fresh = { attempt, executionId: null, providerName: "", startTime: null };
    return ["ready", moveStep(step, "ready", { ...fresh, reason: "QUEUED" })];
  });
  return moved(job, moves);
}

/** Refuses to repeat a job that still runs or that has succeeded. */
export function assertRetriable(job: Pick<Job, "id" | "state">): void {
  if (job.state === "FAILED" || job.state === "TIMED_OUT" || job.state === "CANCELLED") return;
  throw new DomainError({
    code: "FAILED_PRECONDITION",
    reason: job.state === "SUCCEEDED" ? "JOB_HAS_SUCCEEDED" : "JOB_HAS_NOT_ENDED",
    message: `job ${job.id} is ${job.state}; only a job that has ended without success can be retried`,
    metadata: { jobId: job.id, state: job.state },
  });
}
